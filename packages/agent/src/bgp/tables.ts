import type { Prefix } from '@causeway/ip';
import {
  type BGPClusterOptions,
  type BGPPeerOptions,
  type CiliumBGPAdvertisement,
  type CiliumBGPClusterConfig,
  type CiliumBGPNodeConfigOverride,
  type CiliumBGPPeerConfig,
  type Secret,
  secretValue,
} from '@causeway/resources';
import type { Database, Table } from '@causeway/tables';
import type { Announcement } from './plan.ts';
import type { OriginatedPath, SpeakerConfig } from './speaker-port.ts';

/** A Secret of the namespace of passwords, with the only key that sessions use. Its value is never printed. */
export interface PasswordRow {
  readonly name: string;
  readonly password: string | undefined;
}

/** What the store says about BGP, one table a kind. */
export interface BgpTables {
  readonly clusterConfigs: Table<CiliumBGPClusterConfig>;
  readonly clusterOptions: Table<BGPClusterOptions>;
  readonly peerConfigs: Table<CiliumBGPPeerConfig>;
  readonly peerOptions: Table<BGPPeerOptions>;
  readonly advertisements: Table<CiliumBGPAdvertisement>;
  readonly overrides: Table<CiliumBGPNodeConfigOverride>;
  readonly passwords: Table<PasswordRow>;
}

interface Named {
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
}

export function bgpTables(database: Database): BgpTables {
  const table = <Row extends Named>(name: string): Table<Row> =>
    database.table({
      name,
      key: ({ metadata }: Row) => metadata.name,
      columns: [
        { name: 'name', of: ({ metadata }) => metadata.name },
        { name: 'labels', of: ({ metadata }) => JSON.stringify(metadata.labels ?? {}) },
      ],
    });
  return {
    clusterConfigs: table('bgp-cluster-configs'),
    clusterOptions: table('bgp-cluster-options'),
    peerConfigs: table('bgp-peer-configs'),
    peerOptions: table('bgp-peer-options'),
    advertisements: table('bgp-advertisements'),
    overrides: table('bgp-node-overrides'),
    passwords: database.table({
      name: 'bgp-passwords',
      key: ({ name }: PasswordRow) => name,
      columns: [
        { name: 'name', of: ({ name }) => name },
        { name: 'password', of: ({ password }) => (password === undefined ? 'missing' : 'set') },
      ],
    }),
  };
}

export const passwordRow = (secret: Secret): PasswordRow => ({
  name: secret.metadata.name,
  password: secretValue(secret, 'password'),
});

/** What the speaker is to be told; at most the one row `agent`. */
export interface WantedRow {
  readonly owner: string;
  readonly config: SpeakerConfig;
  readonly paths: readonly OriginatedPath[];
}

/** What follows from it all. */
export interface DerivedTables {
  readonly announcements: Table<Announcement>;
  readonly wanted: Table<WantedRow>;
}

export function derivedTables(database: Database): DerivedTables {
  return {
    announcements: database.table({
      name: 'bgp-announcements',
      key: ({ prefix, source }: Announcement): string => `${prefix} ${source}`,
      columns: [
        { name: 'prefix', of: ({ prefix }: { prefix: Prefix }) => prefix },
        { name: 'source', of: ({ source }) => source },
        { name: 'announced', of: ({ announced }) => announced },
        { name: 'to', of: ({ to }) => to.map(({ neighbor }) => neighbor).join(',') },
        { name: 'reason', of: ({ reason }) => reason },
      ],
    }),
    wanted: database.table({
      name: 'bgp-wanted',
      key: ({ owner }: WantedRow) => owner,
      columns: [
        { name: 'owner', of: ({ owner }) => owner },
        { name: 'asn', of: ({ config }) => config.asn },
        { name: 'router-id', of: ({ config }) => config.routerId },
        { name: 'neighbors', of: ({ config }) => config.neighbors.length },
        { name: 'paths', of: ({ paths }) => paths.length },
      ],
    }),
  };
}
