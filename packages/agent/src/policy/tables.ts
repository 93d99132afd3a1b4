import {
  type CiliumCIDRGroup,
  type CiliumClusterwideNetworkPolicy,
  type CiliumNetworkPolicy,
  type NetworkPolicy,
  objectKey,
} from '@causeway/resources';
import type { Database, Table } from '@causeway/tables';

/** One table a kind, for each is read from the store on its own. */
export interface PolicyTables {
  readonly networkPolicies: Table<NetworkPolicy>;
  readonly ciliumPolicies: Table<CiliumNetworkPolicy>;
  readonly clusterwidePolicies: Table<CiliumClusterwideNetworkPolicy>;
  readonly cidrGroups: Table<CiliumCIDRGroup>;
}

interface Named {
  readonly metadata: { readonly namespace?: string; readonly name: string };
}

export function policyTables(database: Database): PolicyTables {
  const table = <Row extends Named>(name: string): Table<Row> =>
    database.table({
      name,
      key: ({ metadata }: Row) => objectKey(metadata.namespace, metadata.name),
      columns: [
        { name: 'namespace', of: ({ metadata }) => metadata.namespace ?? '' },
        { name: 'name', of: ({ metadata }) => metadata.name },
      ],
    });
  return {
    networkPolicies: table('network-policies'),
    ciliumPolicies: table('cilium-network-policies'),
    clusterwidePolicies: table('cilium-clusterwide-network-policies'),
    cidrGroups: table('cilium-cidr-groups'),
  };
}
