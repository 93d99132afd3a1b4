import { z } from 'zod';

/** An identifier as it may stand in a path: a UUID mostly, never `..` or a slash. */
const id = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/);
const text = z.string().max(1024).nullish();
const texts = z.array(z.string().max(255)).max(256);

/** A port as Networking API v2.0 shows it, of which only this is asked for. */
const portShape = z.object({
  id,
  name: text,
  fixed_ips: z.array(z.object({ ip_address: z.string().max(64) })).max(1024),
  allowed_address_pairs: z
    .array(z.object({ ip_address: z.string().max(64) }))
    .max(1024)
    .nullish(),
  tags: texts.nullish(),
  device_owner: text,
  device_id: text,
  project_id: text,
  tenant_id: text,
  network_id: text,
  status: text,
  revision_number: z.number().int().nullish(),
  updated_at: text,
  'binding:vnic_type': text,
  'binding:host_id': text,
});

/** A server as Compute API v2.1 shows it; `name` is missing where its cell is out of reach (2.69). */
const serverShape = z.object({
  id,
  name: text,
  status: z.string().max(64),
  metadata: z.record(z.string().max(255), z.string().max(1024)).nullish(),
  tags: texts.nullish(),
  tenant_id: text,
  updated: text,
  'OS-EXT-AZ:availability_zone': text,
  'OS-EXT-SRV-ATTR:host': text,
});

/** Fields of a port to ask for; Neutron leaves out what it does not know. */
export const PORT_FIELDS: readonly string[] = Object.keys(portShape.shape);

export interface Port {
  readonly id: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly pairs: readonly string[];
  readonly tags: readonly string[];
  readonly deviceOwner: string;
  /** Of the server it belongs to, if any. */
  readonly device: string;
  readonly project: string;
  readonly network: string;
  readonly status: string;
  readonly vnicType: string;
  readonly host: string;
  /** Grows with each change, where Neutron counts them. */
  readonly revision: number | undefined;
  /** ms since the epoch, by the server's clock. */
  readonly updatedAt: number | undefined;
}

export interface Server {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tags: readonly string[];
  readonly project: string;
  readonly zone: string;
  readonly host: string;
  readonly updatedAt: number | undefined;
}

export type Read<T> =
  | { readonly type: 'object'; readonly object: T }
  /** There is something of this id of which no more is known: what was known of it stays. */
  | { readonly type: 'unknown'; readonly id: string; readonly why: string }
  /** Not even an id. */
  | { readonly type: 'nothing'; readonly why: string };

export function readPort(value: unknown): Read<Port> {
  const result = portShape.safeParse(value);
  if (!result.success) return unreadable(value, result.error);
  const port = result.data;
  return {
    type: 'object',
    object: {
      id: port.id,
      name: port.name ?? '',
      addresses: port.fixed_ips.map((each) => each.ip_address),
      // A pair may be a whole network, which is nobody's address.
      pairs: (port.allowed_address_pairs ?? [])
        .map((each) => each.ip_address.replace(/\/(32|128)$/, ''))
        .filter((each) => !each.includes('/')),
      tags: port.tags ?? [],
      deviceOwner: port.device_owner ?? '',
      device: port.device_id ?? '',
      project: port.project_id ?? port.tenant_id ?? '',
      network: port.network_id ?? '',
      status: port.status ?? '',
      vnicType: port['binding:vnic_type'] ?? '',
      host: port['binding:host_id'] ?? '',
      revision: port.revision_number ?? undefined,
      updatedAt: time(port.updated_at),
    },
  };
}

export function readServer(value: unknown): Read<Server> {
  const result = serverShape.safeParse(value);
  if (!result.success) return unreadable(value, result.error);
  const server = result.data;
  // A deleted server of a list of changes says so; its name and the rest may be gone.
  if (server.name == null && server.status !== 'DELETED')
    return { type: 'unknown', id: server.id, why: 'its cell is out of reach' };
  return {
    type: 'object',
    object: {
      id: server.id,
      name: server.name ?? '',
      status: server.status,
      metadata: server.metadata ?? {},
      tags: server.tags ?? [],
      project: server.tenant_id ?? '',
      zone: server['OS-EXT-AZ:availability_zone'] ?? '',
      host: server['OS-EXT-SRV-ATTR:host'] ?? '',
      updatedAt: time(server.updated),
    },
  };
}

/** An object's id and name as lists of projects and networks give them. */
export const named = z.object({ id, name: z.string().max(255) });

export const rollEntry = z.object({ id, revision_number: z.number().int().nullish() });

function unreadable<T>(value: unknown, error: z.ZodError): Read<T> {
  const issue = error.issues[0];
  const why = `${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? 'has no shape'}`;
  const known = id.safeParse((value as { id?: unknown } | null)?.id);
  return known.success ? { type: 'unknown', id: known.data, why } : { type: 'nothing', why };
}

function time(text: string | null | undefined): number | undefined {
  // Neutron and Nova write UTC; some releases without saying so.
  const ms = Date.parse(text == null ? '' : /(Z|[+-]\d\d:?\d\d)$/.test(text) ? text : `${text}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}
