import {
  bgpNodeSpec,
  type CiliumBGPClusterConfig,
  type CiliumBGPNodeConfig,
  type CiliumBGPNodeConfigOverride,
  type CiliumBGPPeerConfig,
  type Condition,
  chooseBgpConfig,
  type Labels,
} from '@causeway/resources';

/** What decides about the nodes' objects and the conditions. */
export interface BgpWorld {
  readonly nodes: Iterable<{ readonly name: string; readonly labels: Labels }>;
  readonly configs: readonly CiliumBGPClusterConfig[];
  readonly override: (node: string) => CiliumBGPNodeConfigOverride | undefined;
  readonly hasPeerConfig: (name: string) => boolean;
  readonly hasSecret: (name: string) => boolean;
}

/** A CiliumBGPNodeConfig as it shall be: what a store keeps of it besides is not said here. */
export interface WantedNodeConfig {
  readonly owner: CiliumBGPClusterConfig;
  readonly spec: CiliumBGPNodeConfig['spec'];
}

export interface BgpWanted {
  readonly nodes: ReadonlyMap<string, WantedNodeConfig>;
  /** Of each CiliumBGPClusterConfig, by name. */
  readonly conditions: ReadonlyMap<string, readonly Condition[]>;
}

/** Pure. Types, reasons and sentences of the conditions are Cilium's, so that what watches them there does so here. */
export function bgpWanted(world: BgpWorld): BgpWanted {
  const nodes = new Map<string, WantedNodeConfig>();
  const selecting = new Set<string>();
  const conflicts = new Map<string, Set<string>>();
  for (const { name, labels } of world.nodes) {
    const { chosen, others } = chooseBgpConfig(labels, world.configs);
    if (chosen === undefined) continue;
    nodes.set(name, { owner: chosen, spec: bgpNodeSpec(chosen, world.override(name)) });
    selecting.add(chosen.metadata.name);
    for (const other of others) {
      selecting.add(other.metadata.name);
      const winners = conflicts.get(other.metadata.name) ?? new Set();
      conflicts.set(other.metadata.name, winners.add(chosen.metadata.name));
    }
  }
  const conditions = new Map(
    world.configs.map((config) => {
      const { name } = config.metadata;
      return [
        name,
        [
          condition(
            'ConflictingClusterConfig',
            'ConflictingClusterConfigs',
            'Selecting the same node(s) with ClusterConfig(s)',
            conflicts.get(name) ?? [],
          ),
          condition(
            'MissingPeerConfigs',
            'MissingPeerConfigs',
            'Referenced CiliumBGPPeerConfig(s) are missing',
            missingPeerConfigs(config, world.hasPeerConfig),
          ),
          {
            type: 'cilium.io/NoMatchingNode',
            status: selecting.has(name) ? 'False' : 'True',
            reason: 'NoMatchingNode',
            message: selecting.has(name) ? '' : 'No node matches spec.nodeSelector',
          },
        ],
      ] as const;
    }),
  );
  return { nodes, conditions };
}

/** Of a CiliumBGPPeerConfig: whether the password that it names is there. */
export function peerConditions(
  { spec }: CiliumBGPPeerConfig,
  hasSecret: (name: string) => boolean,
): readonly Condition[] {
  const { authSecretRef } = spec;
  const missing = authSecretRef !== undefined && !hasSecret(authSecretRef);
  return [
    {
      type: 'cilium.io/MissingAuthSecret',
      status: missing ? 'True' : 'False',
      reason: 'MissingAuthSecret',
      message: missing ? `Referenced Auth Secret "${authSecretRef}" is missing` : '',
    },
  ];
}

function missingPeerConfigs(
  { spec }: CiliumBGPClusterConfig,
  has: (name: string) => boolean,
): Set<string> {
  const named = spec.bgpInstances.flatMap(({ peers = [] }) =>
    peers.flatMap(({ peerConfigRef }) => peerConfigRef?.name ?? []),
  );
  return new Set(named.filter((name) => !has(name)));
}

function condition(
  type: string,
  reason: string,
  sentence: string,
  names: Iterable<string>,
): Condition {
  const list = [...names].sort();
  return {
    type: `cilium.io/${type}`,
    status: list.length > 0 ? 'True' : 'False',
    reason,
    message: list.length > 0 ? `${sentence}: ${list.join(', ')}` : '',
  };
}
