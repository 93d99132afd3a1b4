import { z } from 'zod';
import { commonSource } from '../common-config.ts';

/** OutsideEndpoint objects of the inventory's own registry, which its HTTP API writes. */
export const objectsSource = z.strictObject({
  type: z.literal('objects'),
  ...commonSource,
});

export type ObjectsSourceConfig = z.infer<typeof objectsSource>;
