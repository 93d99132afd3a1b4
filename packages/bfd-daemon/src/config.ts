import path from 'node:path';
import { LOG_LEVELS, loadConfig } from '@causeway/daemon';
import { absolutePath } from '@causeway/daemon/fields';
import { z } from 'zod';

const schema = z.strictObject({
  /** Holds the lock, the state in `bfd/`, and the socket unless told. */
  runDir: absolutePath.default('/run/causeway'),
  socket: absolutePath.optional(),
  /** Stands in each line of the log: the node's name. */
  name: z.string().max(253).optional(),
  log: z.strictObject({ level: z.enum(LOG_LEVELS).default('info') }).prefault({}),
  limits: z
    .strictObject({
      sessions: z.int().min(1).max(16_384).default(4096),
      requestBytes: z.int().min(1024).max(67_108_864).default(4_194_304),
      /** Lines kept for one reader of events that does not read. */
      eventBuffer: z.int().min(16).max(65_536).default(4096),
      eventReaders: z.int().min(1).max(1024).default(64),
    })
    .prefault({}),
  /** Run before everything else on the machine, as far as it is allowed; see the README. */
  realtime: z.boolean().default(true),
});

export type BfdDaemonConfig = z.output<typeof schema> & { readonly socket: string };

/** Every setting has a default, so no file is a good one. @throws DaemonError `bad-config`. */
export function loadBfdConfig(file: string | undefined): BfdDaemonConfig {
  const config = file === undefined ? schema.parse({}) : loadConfig(file, schema);
  return { ...config, socket: config.socket ?? path.join(config.runDir, 'bfd.sock') };
}
