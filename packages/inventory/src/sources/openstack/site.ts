import { z } from 'zod';
import { InventoryError } from '../../errors.ts';
import type { OpenStackSourceConfig } from './config.ts';
import type { Names } from './mapping.ts';
import {
  named,
  PORT_FIELDS,
  type Port,
  type Read,
  readPort,
  readServer,
  rollEntry,
  type Server,
} from './objects.ts';
import { listWhole } from './pages.ts';
import type { Query, Service } from './service.ts';

/**
 * Microversions of Nova's, the best first: 2.69 says of servers whose cell is out of reach that they exist,
 * 2.26 has tags in lists. Below, servers have no tags for us.
 */
const MICROVERSIONS = ['compute 2.69', 'compute 2.26', undefined] as const;

export interface Objects<T> {
  readonly objects: readonly T[];
  /** Exist, but could not be read: id and why. */
  readonly unknown: ReadonlyMap<string, string>;
  readonly serverTime: number | undefined;
}

export interface RollEntry {
  readonly id: string;
  readonly deviceOwner: string;
  readonly revision: number | undefined;
}

export interface Services {
  readonly network: Service;
  readonly compute: Service | undefined;
  readonly identity: Service | undefined;
}

/** The questions that the adapter asks of Neutron, Nova and Keystone, and their answers as objects. */
export class Site {
  readonly #services: Services;
  readonly #config: OpenStackSourceConfig;
  #microversion = 0;

  constructor(services: Services, config: OpenStackSourceConfig) {
    this.#services = services;
    this.#config = config;
  }

  async ports(signal: AbortSignal): Promise<Objects<Port>> {
    return this.#portList({}, signal);
  }

  /** undefined: this Neutron cannot be asked for changes (`filter-validation` knows no such filter). */
  async portsChangedSince(ms: number, signal: AbortSignal): Promise<Objects<Port> | undefined> {
    const since = iso(ms);
    const probe = await this.#services.network.get(
      '/ports',
      { changed_since: since, limit: '1', fields: 'id' },
      signal,
      [200, 400],
    );
    if (probe.status === 400) return undefined;
    const none = (probe.body as { ports?: unknown }).ports;
    if (Array.isArray(none) && none.length === 0)
      return { objects: [], unknown: new Map(), serverTime: undefined };
    return this.#portList({ changed_since: since }, signal);
  }

  portsOf(server: string, signal: AbortSignal): Promise<Objects<Port>> {
    return this.#portList({ device_id: server }, signal);
  }

  portsById(ids: readonly string[], signal: AbortSignal): Promise<Objects<Port>> {
    return this.#portList({ id: ids }, signal);
  }

  async port(id: string, signal: AbortSignal): Promise<Read<Port> | undefined> {
    const answer = await this.#services.network.get(
      `/ports/${id}`,
      { fields: PORT_FIELDS },
      signal,
      [200, 404],
    );
    if (answer.status === 404) return undefined;
    return own(id, readPort(member(answer.body, 'port')));
  }

  /** Bare ids and revisions of all ports: what is asked often, to find what is gone. */
  async roll(signal: AbortSignal): Promise<readonly RollEntry[]> {
    const { objects } = await listWhole(
      this.#list('ports', {
        ...this.#filters(),
        fields: ['id', 'revision_number', 'device_owner'],
      }),
      signal,
    );
    return objects.map((value) => {
      const entry = rollEntry.safeParse(value);
      if (!entry.success) throw shapeless('ports', entry.error);
      const owner = member(value, 'device_owner');
      return {
        id: entry.data.id,
        deviceOwner: typeof owner === 'string' ? owner : '',
        revision: entry.data.revision_number ?? undefined,
      };
    });
  }

  servers(signal: AbortSignal): Promise<Objects<Server>> {
    return this.#serverList({}, signal);
  }

  /** Deleted ones too, with that status. */
  serversChangedSince(ms: number, signal: AbortSignal): Promise<Objects<Server>> {
    return this.#serverList({ 'changes-since': iso(ms) }, signal);
  }

  async server(id: string, signal: AbortSignal): Promise<Read<Server> | undefined> {
    const compute = this.#services.compute;
    if (compute === undefined) return undefined;
    for (;;) {
      const answer = await compute.get(
        `/servers/${id}`,
        {},
        signal,
        [200, 404, 406],
        this.#version(),
      );
      if (answer.status === 404) return undefined;
      if (answer.status === 200) return own(id, readServer(member(answer.body, 'server')));
      this.#olderVersion();
    }
  }

  /** Names of networks and of those projects that the user may see. */
  async names(signal: AbortSignal): Promise<Names> {
    const networks = await listWhole(this.#list('networks', { fields: ['id', 'name'] }), signal);
    return {
      networks: namesOf('networks', networks.objects),
      projects: await this.#projects(signal),
    };
  }

  async #projects(signal: AbortSignal): Promise<Map<string, string>> {
    const identity = this.#services.identity;
    if (identity === undefined) return new Map();
    // Only administrators see all; everyone sees the own.
    for (const path of ['/projects', '/auth/projects']) {
      const answer = await identity.get(path, {}, signal, [200, 403]);
      if (answer.status === 403) continue;
      const projects = member(answer.body, 'projects');
      if (!Array.isArray(projects)) break;
      return namesOf('projects', projects);
    }
    return new Map();
  }

  async #portList(query: Query, signal: AbortSignal): Promise<Objects<Port>> {
    const whole = await listWhole(
      this.#list('ports', { ...this.#filters(), ...query, fields: PORT_FIELDS }),
      signal,
    );
    return { ...sort('ports', whole.objects, readPort), serverTime: whole.serverTime };
  }

  async #serverList(query: Query, signal: AbortSignal): Promise<Objects<Server>> {
    const { compute } = this.#services;
    if (compute === undefined) return { objects: [], unknown: new Map(), serverTime: undefined };
    await this.#agreeVersion(compute, signal);
    const whole = await listWhole(
      {
        ...this.#list('servers', {
          ...(this.#config.allProjects ? { all_tenants: '1' } : {}),
          ...query,
        }),
        service: compute,
        path: '/servers/detail',
        headers: this.#version(),
      },
      signal,
    );
    return { ...sort('servers', whole.objects, readServer), serverTime: whole.serverTime };
  }

  /** 406 is how a Nova says that it is too old for a microversion. */
  async #agreeVersion(compute: Service, signal: AbortSignal): Promise<void> {
    for (;;) {
      const answer = await compute.get(
        '/servers',
        { limit: '1' },
        signal,
        [200, 406],
        this.#version(),
      );
      if (answer.status === 200) return;
      this.#olderVersion();
    }
  }

  #olderVersion(): void {
    if (this.#microversion + 1 >= MICROVERSIONS.length)
      throw new InventoryError('bad-answer', 'Nova takes no microversion, not even its oldest', {
        field: 'endpoints.compute',
      });
    this.#microversion++;
  }

  #version(): Record<string, string> {
    const version = MICROVERSIONS[this.#microversion];
    return version === undefined ? {} : { 'openstack-api-version': version };
  }

  #filters(): Query {
    const { projects, networks, tags } = this.#config;
    return {
      ...(projects.length > 0 ? { project_id: projects } : {}),
      ...(networks.length > 0 ? { network_id: networks } : {}),
      ...(tags.length > 0 ? { tags: tags.join(',') } : {}),
    };
  }

  #list(field: 'ports' | 'networks' | 'servers', query: Query) {
    const { pageSize, objects } = this.#config.limits;
    const service = this.#services.network;
    return { service, path: `/${field}`, field, query, pageSize, most: objects };
  }
}

function sort<T extends { readonly id: string }>(
  field: string,
  values: readonly unknown[],
  read: (value: unknown) => Read<T>,
): { readonly objects: T[]; readonly unknown: Map<string, string> } {
  const objects = new Map<string, T>();
  const unknown = new Map<string, string>();
  for (const value of values) {
    const result = read(value);
    if (result.type === 'object') objects.set(result.object.id, result.object);
    else if (result.type === 'unknown') unknown.set(result.id, result.why);
    // Which one it is cannot be known, so the list cannot say who is absent.
    else
      throw new InventoryError('bad-answer', `an entry of ${field} has no id: ${result.why}`, {
        field,
      });
  }
  return { objects: [...objects.values()], unknown };
}

/** Asked for one, a service must not answer with another. */
function own<T extends { readonly id: string }>(id: string, result: Read<T>): Read<T> {
  const given =
    result.type === 'object' ? result.object.id : result.type === 'unknown' ? result.id : '';
  if (given === id) return result;
  throw new InventoryError(
    'bad-answer',
    `asked for ${id}, the answer is of ${given || 'nothing'}`,
    {
      field: 'id',
      value: id,
    },
  );
}

function namesOf(field: string, values: readonly unknown[]): Map<string, string> {
  const names = new Map<string, string>();
  for (const value of values) {
    const entry = named.safeParse(value);
    if (!entry.success) throw shapeless(field, entry.error);
    names.set(entry.data.id, entry.data.name);
  }
  return names;
}

const shapeless = (field: string, error: z.ZodError): InventoryError =>
  new InventoryError('bad-answer', `an entry of ${field} has no shape: ${z.prettifyError(error)}`, {
    field,
  });

const member = (value: unknown, name: string): unknown =>
  (value as Record<string, unknown> | null | undefined)?.[name];

/** Seconds: Neutron's and Nova's times have no finer parts. */
const iso = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
