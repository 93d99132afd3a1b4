import { MeshError } from '../errors.ts';
import { GoObject } from './go-json.ts';

/** What each node's checks say against backends on it, in the own store: one key a node, on the node's lease. */
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

export const healthKey = (node: string): string => HEALTH_PREFIX + node;

export function encodeHealth({ failing, more }: HealthReport): string {
  return JSON.stringify({ failing, more });
}

/** @throws MeshError for what nobody of us wrote. */
export function decodeHealth(key: string, text: string): HealthReport {
  const node = key.slice(HEALTH_PREFIX.length);
  if (node === '' || node.length > 253) {
    throw new MeshError('bad-key', `${key} ends in no node's name`, key);
  }
  const object = GoObject.parse(text);
  const list = object.objects('failing');
  if (list.length > MAX_REPORTED) {
    const message = `failing has ${list.length} members, at most ${MAX_REPORTED} are taken`;
    throw new MeshError('bad-value', message, list.length, 'failing');
  }
  const failing = list.map((each) => ({
    service: short(each, 'service', 400),
    backend: short(each, 'backend', 64),
    reason: short(each, 'reason', 200),
  }));
  return { node, failing, more: object.uint('more', 32) };
}

function short(object: GoObject, name: string, most: number): string {
  const text = object.string(name);
  if (text !== '' && text.length <= most) return text;
  const at = object.at(name);
  throw new MeshError('bad-value', `${at} must be 1 to ${most} characters`, text.length, at);
}

/** service → backend → reason, as the load balancer takes it. */
export function failingOf({ failing }: HealthReport): Map<string, Map<string, string>> {
  const found = new Map<string, Map<string, string>>();
  for (const { service, backend, reason } of failing) {
    const backends = found.get(service) ?? new Map<string, string>();
    found.set(service, backends.set(backend, reason));
  }
  return found;
}
