import { absolutePath } from '@causeway/daemon/fields';
import { z } from 'zod';
import { commonSource } from '../common-config.ts';

/** A file, or every file of a directory, that says which machines there are. */
export const fileSource = z.strictObject({
  type: z.literal('file'),
  ...commonSource,
  /** Of a directory, `*.yaml`, `*.yml`, `*.json` and `*.csv` that do not begin with a dot. */
  path: absolutePath,
  /** By the name's ending if absent. */
  format: z.enum(['yaml', 'csv']).optional(),
  /** How often it is looked at even if nothing told of a change, as file systems of other machines do not. */
  rescanSeconds: z.number().min(0.05).max(86_400).default(30),
});

export type FileSourceConfig = z.infer<typeof fileSource>;
