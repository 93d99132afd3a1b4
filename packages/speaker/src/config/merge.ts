import { readFileSync } from 'node:fs';
import type { PolicyLibrary } from '@causeway/bgp';
import { refuseConfig } from '@causeway/daemon';
import { Address } from '@causeway/ip';
import { SpeakerError } from '../errors.ts';
import { same } from '../same.ts';
import { checkNeighbor, checkTemplate, REDACTED } from './check.ts';
import type { NeighborConfig } from './neighbor-schema.ts';
import type { BmpStationSettings, OwnerConfig } from './schema.ts';
import type {
  BmpStation,
  DynamicNeighbor,
  KernelConfig,
  ListenAddress,
  Neighbor,
  Settings,
} from './settings.ts';

const NO_KERNEL_ROUTES: KernelConfig = {
  mode: 'none',
  prefixes: undefined,
  table: 254,
  metric: 512,
};

/**
 * Puts together what the owners want: a setting may come from one of them, or from several if they agree;
 * lists are united by name. Undefined when nobody wants anything yet.
 * @throws DaemonError `bad-config` naming the field, SpeakerError `conflict` naming both owners.
 */
export function mergeOwners(owners: ReadonlyMap<string, OwnerConfig>): Settings | undefined {
  if (owners.size === 0) return undefined;
  const one = <K extends keyof OwnerConfig>(key: K): OwnerConfig[K] | undefined =>
    agreed(owners, key, (config) => config[key]);

  const neighbors = united(owners, 'neighbors', ({ neighbors: list }) => list);
  const dynamic = united(owners, 'dynamicNeighbors', ({ dynamicNeighbors: list }) => list);
  const [first] = owners.keys();
  const source = sourceOf(first ?? '');
  const asn = one('asn');
  const routerId = one('routerId');
  if (asn === undefined)
    refuseConfig(source, 'asn', undefined, 'is missing: the AS that we are in');
  if (routerId === undefined)
    refuseConfig(source, 'routerId', undefined, 'is missing: four octets that are ours alone');

  const library: PolicyLibrary = {
    policies: unitedRecord(owners, 'policies'),
    prefixSets: unitedRecord(owners, 'prefixSets'),
    communitySets: unitedRecord(owners, 'communitySets'),
    asPathSets: unitedRecord(owners, 'asPathSets'),
  };
  for (const [name, { value, owner, field }] of neighbors) {
    const clash = dynamic.get(name);
    if (clash !== undefined)
      refuseConfig(
        sourceOf(owner),
        `${field}.name`,
        name,
        'is the name of a dynamic neighbour, too',
      );
    checkNeighbor(value, field, sourceOf(owner), asn, library);
  }
  for (const { value, owner, field } of dynamic.values())
    checkTemplate(value, field, sourceOf(owner), asn, library);
  refuseTwins(neighbors);

  const kernel = one('kernel');
  if (kernel?.mode === 'prefixes' && kernel.prefixes === undefined)
    refuseConfig(
      source,
      'kernel.prefixes',
      undefined,
      'is missing: mode prefixes installs what is inside them',
    );

  return {
    asn,
    routerId,
    clusterId: one('clusterId'),
    listen: unitedListen(owners),
    gracefulRestart: one('gracefulRestart'),
    multipath: one('multipath'),
    decision: one('decision'),
    attributeBytes: one('attributeBytes'),
    neighbors: new Map(
      Array.from(neighbors, ([name, { value, owner, field }]) => [
        name,
        readSecret(value, `${field}.passwordFile`, sourceOf(owner)) as Neighbor,
      ]),
    ),
    dynamicNeighbors: new Map(
      Array.from(dynamic, ([name, { value, owner, field }]): [string, DynamicNeighbor] => [
        name,
        {
          ...value,
          template: readSecret(value.template, `${field}.template.passwordFile`, sourceOf(owner)),
        },
      ]),
    ),
    library,
    kernel: kernel === undefined ? NO_KERNEL_ROUTES : { ...kernel, prefixes: kernel.prefixes },
    bmp: new Map(
      Array.from(
        united(owners, 'bmp', ({ bmp }) => bmp.map(named)),
        ([name, { value }]) => [name, value],
      ),
    ),
    bfdSocket: one('bfdSocket'),
  };
}

/** How a refusal calls an owner's configuration. */
export const sourceOf = (owner: string): string => `configuration of ${owner}`;

interface Owned<T> {
  readonly value: T;
  readonly owner: string;
  /** As in the owner's own configuration: `neighbors.3`. */
  readonly field: string;
}

function agreed<T>(
  owners: ReadonlyMap<string, OwnerConfig>,
  field: string,
  pick: (config: OwnerConfig) => T | undefined,
): T | undefined {
  let found: { owner: string; value: T } | undefined;
  for (const [owner, config] of owners) {
    const value = pick(config);
    if (value === undefined) continue;
    if (found === undefined) found = { owner, value };
    else if (!same(found.value, value)) conflict(field, value, owner, found.owner);
  }
  return found?.value;
}

function united<T extends { readonly name: string }>(
  owners: ReadonlyMap<string, OwnerConfig>,
  field: string,
  pick: (config: OwnerConfig) => readonly T[],
): Map<string, Owned<T>> {
  const all = new Map<string, Owned<T>>();
  for (const [owner, config] of owners) {
    for (const [index, value] of pick(config).entries()) {
      const at = `${field}.${index}`;
      const known = all.get(value.name);
      if (known === undefined) all.set(value.name, { value, owner, field: at });
      else if (known.owner === owner)
        refuseConfig(
          sourceOf(owner),
          `${at}.name`,
          value.name,
          `is the name of ${known.field}, too`,
        );
      else if (!same(known.value, value)) conflict(`${at}.name`, value.name, owner, known.owner);
    }
  }
  return all;
}

function unitedRecord<K extends 'policies' | 'prefixSets' | 'communitySets' | 'asPathSets'>(
  owners: ReadonlyMap<string, OwnerConfig>,
  key: K,
): OwnerConfig[K] {
  const all: Record<string, unknown> = {};
  const ownerOf = new Map<string, string>();
  for (const [owner, config] of owners) {
    for (const [name, value] of Object.entries(config[key])) {
      const before = ownerOf.get(name);
      if (before !== undefined && !same(all[name], value))
        conflict(`${key}.${name}`, name, owner, before);
      all[name] = value;
      ownerOf.set(name, owner);
    }
  }
  return all as OwnerConfig[K];
}

function unitedListen(owners: ReadonlyMap<string, OwnerConfig>): ListenAddress[] {
  const given = [...owners.values()].flatMap(({ listen }) =>
    listen === undefined ? [] : [listen],
  );
  if (given.length === 0)
    return ['0.0.0.0', '::'].map((text) => ({ address: Address.parse(text), port: 179 }));
  const all = new Map(given.flat().map((each) => [`${each.address} ${each.port}`, each]));
  return [...all.values()];
}

const named = (station: BmpStationSettings): BmpStation => ({
  ...station,
  name: station.name ?? `${station.address}:${station.port}`,
});

function conflict(field: string, value: unknown, owner: string, other: string): never {
  throw new SpeakerError(
    'conflict',
    `${sourceOf(owner)}: ${field} differs from what ${other} wants`,
    {
      field,
      value,
      hint: `change or delete it in the configuration of ${other}`,
    },
  );
}

/** Two neighbours that one connection could belong to. */
function refuseTwins(neighbors: ReadonlyMap<string, Owned<NeighborConfig>>): void {
  const seen = new Map<string, string>();
  for (const [name, { value, owner, field }] of neighbors) {
    const { peer } = value;
    const key =
      'address' in peer
        ? `${peer.address}%${peer.interface ?? ''}|${value.localAddress ?? ''}|${value.port ?? 179}`
        : JSON.stringify(peer);
    const other = seen.get(key);
    if (other !== undefined)
      refuseConfig(sourceOf(owner), `${field}.peer`, peer, `is the one of neighbour ${other}, too`);
    seen.set(key, name);
  }
}

function readSecret<T extends { passwordFile?: string | undefined; password?: string | undefined }>(
  settings: T,
  field: string,
  source: string,
): Omit<T, 'passwordFile'> {
  const { passwordFile, ...rest } = settings;
  if (passwordFile === undefined) return rest;
  let password: string;
  try {
    password = readFileSync(passwordFile, 'utf8').replace(/\r?\n$/, '');
  } catch (cause) {
    return refuseConfig(source, field, passwordFile, `cannot be read: ${(cause as Error).message}`);
  }
  if (password === '' || Buffer.byteLength(password) > 80 || password === REDACTED)
    refuseConfig(source, field, passwordFile, 'holds no password of 1 to 80 bytes');
  return { ...rest, password };
}
