import { z } from 'zod';
import { filterConfig, labelRule } from '../core/rules-config.ts';

/** What every source can be told, whatever its type. */
export const commonSource = {
  /** What this source is called in claims, conflicts and reports. */
  name: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'must be a DNS label of at most 63 characters'),
  /** Which items take part. */
  filter: filterConfig.prefault({}),
  /** How its facts become labels, before the inventory's own rules. */
  labels: z.array(labelRule).max(256).default([]),
  /** For items that name none. */
  namespace: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'must be a namespace: a DNS label')
    .optional(),
  site: z.string().min(1).max(63).optional(),
};
