import type { Failing } from '@causeway/loadbalancing';
import { z } from 'zod';

/** What each node's checks say against backends on it, in the store: one key a node, on the node's lease. */
export const HEALTH_PREFIX = 'causeway/state/backend-health/';

/** etcd takes 1.5 MiB; so many lines of the longest names stay well under it. */
export const MAX_REPORTED = 2_000;

export interface HealthReport {
  readonly node: string;
  readonly failing: readonly {
    /** `shop/web` */
    readonly service: string;
    readonly backend: string;
    readonly reason: string;
  }[];
  /** Failing ones that are not listed for want of room; they stay in use elsewhere. */
  readonly more: number;
}

const short = (most: number) => z.string().min(1).max(most);

const schema = z.object({
  failing: z
    .array(z.object({ service: short(400), backend: short(64), reason: short(200) }))
    .max(MAX_REPORTED),
  more: z.int().min(0).default(0),
});

export const reportKey = (node: string): string => HEALTH_PREFIX + node;

export function reportValue({ failing, more }: HealthReport): string {
  return JSON.stringify({ failing, more });
}

/** What a key of the prefix says; undefined for what nobody of us wrote. */
export function readReport(key: string, text: string): HealthReport | undefined {
  const node = key.slice(HEALTH_PREFIX.length);
  if (node === '' || node.length > 253) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? { node, ...parsed.data } : undefined;
}

/** For the balancer: service → backend → reason. */
export function failingOf({ failing }: HealthReport): Failing {
  const found = new Map<string, Map<string, string>>();
  for (const { service, backend, reason } of failing) {
    const backends = found.get(service) ?? new Map<string, string>();
    found.set(service, backends.set(backend, reason));
  }
  return found;
}
