/**
 * Notifications of oslo.messaging, of which only the object's id is believed: each is a hint to ask the API.
 * So it matters neither in which order they come nor how often, nor who wrote them.
 */
export type Hint =
  | { readonly type: 'port'; readonly id: string }
  | { readonly type: 'server'; readonly id: string }
  /** Something about ports of which it is not said which. */
  | { readonly type: 'ports' };

/** Larger than any notification of a port or server, bulk ones of some hundred ports included. */
export const MOST_BYTES = 4 * 1024 * 1024;

const ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** What a message's body hints at; nothing for what concerns us not or cannot be read. */
export function hintsOf(body: Buffer): Hint[] {
  if (body.length > MOST_BYTES) return [{ type: 'ports' }];
  const outer = json(body.toString('utf8'));
  // oslo.messaging's envelope 2.0 carries the message as text; without one it is the message.
  const inner = typeof outer?.['oslo.message'] === 'string' ? json(outer['oslo.message']) : outer;
  const type = inner?.event_type;
  const payload = record(inner?.payload);
  if (typeof type !== 'string' || payload === undefined) return [];
  // Of an action's two, the one behind it; what has neither is told when it is done.
  if (type.endsWith('.start')) return [];
  const family = type.split('.', 2).join('.');
  if (type.startsWith('port.')) return portHints(payload);
  if (type.startsWith('tag.')) return tagHints(payload);
  // Addresses change with subnets; the ports concerned are not named.
  if (type.startsWith('subnet.') || family === 'network.delete') return [{ type: 'ports' }];
  if (type.startsWith('compute.instance.')) return servers([payload.instance_id]);
  if (type.startsWith('instance.')) return servers([record(payload['nova_object.data'])?.uuid]);
  return [];
}

function portHints(payload: Record<string, unknown>): Hint[] {
  const listed = Array.isArray(payload.ports) ? payload.ports : [];
  const ids = [
    payload.port_id,
    payload.id,
    record(payload.port)?.id,
    ...listed.map((port) => record(port)?.id),
  ];
  const hints = good(ids).map((id) => ({ type: 'port' as const, id }));
  return hints.length > 0 ? hints : [{ type: 'ports' }];
}

function tagHints(payload: Record<string, unknown>): Hint[] {
  if (payload.parent_resource !== 'ports') return [];
  return portHints({ id: payload.parent_resource_id });
}

const servers = (ids: readonly unknown[]): Hint[] =>
  good(ids).map((id) => ({ type: 'server' as const, id }));

const good = (ids: readonly unknown[]): string[] => [
  ...new Set(ids.filter((id): id is string => typeof id === 'string' && ID.test(id))),
];

function json(text: string): Record<string, unknown> | undefined {
  try {
    return record(JSON.parse(text));
  } catch {
    return undefined;
  }
}

const record = (value: unknown): Record<string, unknown> | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
