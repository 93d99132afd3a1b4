import { ClusterId, identityLayout } from '@causeway/identity';
import { type Address, type Prefix, PrefixTrie } from '@causeway/ip';
import type { InventoryConfig } from './config.ts';
import { Inventory } from './core/inventory.ts';
import { Numbers } from './core/numbers.ts';
import { type ClusterSettings, Publication } from './core/publication.ts';
import { Mapping } from './core/rules.ts';
import type { SourceConfig } from './sources/registry.ts';

/** The source of the registry's objects, which is there even if the configuration names none. */
export const OBJECTS = 'objects';

export function sourcesOf(config: InventoryConfig): readonly SourceConfig[] {
  if (config.sources.some(({ type }) => type === 'objects')) return config.sources;
  const filter = { include: [], exclude: [] };
  return [...config.sources, { type: 'objects', name: OBJECTS, filter, labels: [] }];
}

export const clusterOf = ({ cluster }: InventoryConfig): ClusterSettings => ({
  name: cluster.name,
  config: {
    id: cluster.id,
    syncedCanaries: true,
    cached: false,
    maxConnectedClusters: cluster.maxConnectedClusters,
    serviceExportsEnabled: undefined,
  },
});

/** An inventory that knows nothing yet. @throws InventoryError `bad-rule`, IdentityError `bad-filter-rule`. */
export function makeInventory(config: InventoryConfig): Inventory {
  const { guard } = config;
  return new Inventory({
    guard,
    refuses: addressRule(config),
    sources: sourcesOf(config).map((source) => ({
      name: source.name,
      type: source.type,
      guard,
      mapping: new Mapping({
        cluster: config.cluster.name,
        source: source.name,
        filter: source.filter,
        rules: [...source.labels, ...config.labels],
        namespace: source.namespace ?? config.namespace,
        site: source.site,
        identityLabels: config.identityLabels,
      }),
    })),
  });
}

export function makePublication(config: InventoryConfig): Publication {
  const { cluster, identities } = config;
  const { min, max } = identityLayout(cluster.maxConnectedClusters).allocationRange(
    ClusterId(cluster.id),
  );
  const numbers = new Numbers({
    min,
    max,
    linger: identities.lingerSeconds * 1000,
    rest: identities.restSeconds * 1000,
  });
  return new Publication(clusterOf(config), numbers);
}

function addressRule({ addresses }: InventoryConfig): (address: Address) => string | undefined {
  const trieOf = (prefixes: readonly Prefix[]) => {
    const trie = new PrefixTrie<Prefix>();
    for (const prefix of prefixes) trie.set(prefix, prefix);
    return trie;
  };
  const allow = trieOf(addresses.allow);
  const deny = trieOf(addresses.deny);
  return (address) => {
    const denied = deny.lookup(address);
    if (denied !== undefined) return `lies in ${denied.prefix}, which addresses.deny keeps free`;
    if (addresses.allow.length === 0 || allow.lookup(address) !== undefined) return undefined;
    return 'lies in none of addresses.allow';
  };
}
