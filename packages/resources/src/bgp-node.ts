import type { CiliumBGPClusterConfig } from './schema/cilium-bgp.ts';
import type { CiliumBGPNodeConfig, CiliumBGPNodeConfigOverride } from './schema/cilium-bgp-node.ts';
import { type Labels, selects } from './selector.ts';

/** Which CiliumBGPClusterConfig counts for a node, and which others select it in vain. */
export interface BgpConfigChoice {
  readonly chosen: CiliumBGPClusterConfig | undefined;
  readonly others: readonly CiliumBGPClusterConfig[];
}

/**
 * Of several CiliumBGPClusterConfigs that select a node the oldest counts, as with Cilium: a new one that is too
 * wide changes no node that has one. The node's agent and the operator, which shows it, decide by this.
 */
export function chooseBgpConfig(
  labels: Labels,
  configs: Iterable<CiliumBGPClusterConfig>,
): BgpConfigChoice {
  const [chosen, ...others] = [...configs]
    .filter(({ spec }) => spec.nodeSelector === undefined || selects(spec.nodeSelector, labels))
    .sort(byAge);
  return { chosen, others };
}

function byAge(a: CiliumBGPClusterConfig, b: CiliumBGPClusterConfig): number {
  const left = a.metadata.creationTimestamp ?? '';
  const right = b.metadata.creationTimestamp ?? '';
  if (left !== right) return left < right ? -1 : 1;
  return a.metadata.name < b.metadata.name ? -1 : 1;
}

/** A node's `spec` in CiliumBGPNodeConfig: the cluster's instances with what the node's override says. */
export function bgpNodeSpec(
  config: CiliumBGPClusterConfig,
  override: CiliumBGPNodeConfigOverride | undefined,
): CiliumBGPNodeConfig['spec'] {
  return {
    bgpInstances: config.spec.bgpInstances.map(({ name, localASN, localPort, peers }) => {
      const own = override?.spec.bgpInstances.find((each) => each.name === name);
      return defined({
        name,
        localASN: own?.localASN ?? localASN,
        routerID: own?.routerID,
        localPort: own?.localPort ?? localPort,
        peers: peers?.map((peer) =>
          defined({
            ...peer,
            localAddress: own?.peers?.find((each) => each.name === peer.name)?.localAddress,
          }),
        ),
      });
    }),
  };
}

/** Without what is undefined: a store's object is JSON. */
function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(
    Object.entries(value).filter(([, each]) => each !== undefined),
  ) as never;
}
