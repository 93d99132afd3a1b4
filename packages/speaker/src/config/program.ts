import path from 'node:path';
import { LOG_LEVELS, loadConfig } from '@causeway/daemon';
import { absolutePath } from '@causeway/daemon/fields';
import { z } from 'zod';

/** What `causeway speaker --config FILE` reads. `bgp` is looked at later, as any owner's configuration. */
const schema = z.strictObject({
  /** Holds the lock, the state in `speaker/`, and the socket unless told. */
  runDir: absolutePath.default('/run/causeway'),
  socket: absolutePath.exactOptional(),
  /** Stands in each line of the log, and is told to BMP stations: the node's name. */
  name: z.string().max(253).exactOptional(),
  log: z.strictObject({ level: z.enum(LOG_LEVELS).default('info') }).prefault({}),
  limits: z
    .strictObject({
      requestBytes: z.int().min(4096).max(268_435_456).default(67_108_864),
      /** Lines kept for one reader of events that does not read. */
      eventBuffer: z.int().min(16).max(65_536).default(4096),
      eventReaders: z.int().min(1).max(1024).default(64),
    })
    .prefault({}),
  /** As `PUT /v1/config/:owner` takes it; the owner's name is `file`. */
  bgp: z.unknown().optional(),
});

export type ProgramConfig = z.output<typeof schema> & { readonly socket: string };
export type ProgramConfigInput = z.input<typeof schema>;

/** @throws DaemonError `bad-config`. */
export function loadProgramConfig(file: string | undefined): ProgramConfig {
  return complete(file === undefined ? schema.parse({}) : loadConfig(file, schema));
}

export const programConfig = (input: ProgramConfigInput): ProgramConfig =>
  complete(schema.parse(input));

const complete = (config: z.output<typeof schema>): ProgramConfig => ({
  ...config,
  socket: config.socket ?? path.join(config.runDir, 'speaker.sock'),
});
