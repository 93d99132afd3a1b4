import { Address } from '@causeway/ip';
import type {
  BGPClusterOptions,
  CiliumBGPClusterConfig,
  CiliumBGPNodeConfigOverride,
} from '@causeway/resources';
import { chooseBgpConfig } from '@causeway/resources';
import { hash32 } from '@causeway/wire';
import type { BgpInputs } from './inputs.ts';

export type Instance = CiliumBGPClusterConfig['spec']['bgpInstances'][number];
export type InstanceOptions = BGPClusterOptions['spec']['bgpInstances'][number];
export type InstanceOverride = CiliumBGPNodeConfigOverride['spec']['bgpInstances'][number];

/** An instance of this node with what extends and overrides it. */
export interface NodeInstance {
  readonly instance: Instance;
  readonly options: InstanceOptions;
  readonly override: InstanceOverride;
  readonly asn: number;
  /** In front of its peers' names; empty for the first. */
  readonly scope: string;
}

/** What of the cluster's configuration concerns this node. */
export interface Selection {
  /** Name of the CiliumBGPClusterConfig; undefined: none selects this node. */
  readonly config: string | undefined;
  readonly instances: readonly NodeInstance[];
  readonly problems: readonly string[];
}

/** What of it can be run, with what extends and overrides it. */
export function selectInstances(inputs: BgpInputs): Selection {
  const { node, clusterConfigs, clusterOptions, overrides } = inputs;
  const problems: string[] = [];
  const { chosen, others } = chooseBgpConfig(node.labels, clusterConfigs);
  if (chosen === undefined) return { config: undefined, instances: [], problems };
  const { name } = chosen.metadata;
  for (const other of others) {
    problems.push(
      `CiliumBGPClusterConfig ${other.metadata.name} selects this node as well; the older ${name} counts`,
    );
  }
  const options = clusterOptions.find(({ metadata }) => metadata.name === name);
  const override = overrides.find(({ metadata }) => metadata.name === node.name);
  for (const each of options?.spec.bgpInstances ?? []) {
    if (chosen.spec.bgpInstances.some((instance) => instance.name === each.name)) continue;
    problems.push(
      `BGPClusterOptions ${name} names the instance ${each.name}, which ${name} has not`,
    );
  }
  for (const each of override?.spec.bgpInstances ?? []) {
    if (chosen.spec.bgpInstances.some((instance) => instance.name === each.name)) continue;
    problems.push(
      `CiliumBGPNodeConfigOverride ${node.name} names the instance ${each.name}, which ${name} has not`,
    );
  }
  const instances: NodeInstance[] = [];
  for (const instance of chosen.spec.bgpInstances) {
    const byName = <T extends { name: string }>(list: readonly T[] | undefined) =>
      list?.find((each) => each.name === instance.name);
    const own = byName(override?.spec.bgpInstances) ?? { name: instance.name };
    const asn = own.localASN ?? instance.localASN;
    if (asn === undefined) {
      problems.push(
        `the instance ${instance.name} has no localASN, and no CiliumBGPNodeConfigOverride ${node.name} gives one`,
      );
      continue;
    }
    instances.push({
      instance,
      options: byName(options?.spec.bgpInstances) ?? { name: instance.name },
      override: own,
      asn,
      scope: instances.length === 0 ? '' : `${instance.name}:`,
    });
  }
  return { config: name, instances, problems };
}

/**
 * The override's, or the node's first IPv4 address, or a number from its name: whatever it is, it stays the same
 * over restarts.
 */
export function routerIdOf(first: NodeInstance, node: BgpInputs['node']): string {
  if (first.override.routerID !== undefined) return first.override.routerID;
  const ipv4 = node.addresses.find((address) => Address.family(address) === 'ipv4');
  if (ipv4 !== undefined) return ipv4;
  // A router id in 0.0.0.0/8 looks like a mistake, and 0 is none (RFC 6286).
  const number = (hash32(node.name) | 0x0100_0000) >>> 0;
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join('.');
}
