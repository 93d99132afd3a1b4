import type { EgressRoute } from '@causeway/datapath';
import { Address, type Family, Prefix } from '@causeway/ip';
import { type CiliumEgressGatewayPolicy, type Labels, selects } from '@causeway/resources';

/** A pod as egress policies look at it. */
export interface EgressPod {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  readonly node: string | undefined;
  readonly addresses: readonly Address[];
}

export interface EgressNode {
  readonly name: string;
  readonly labels: Labels;
  /** By which others reach it, best first. */
  readonly addresses: readonly Address[];
}

export interface EgressInputs {
  readonly node: string;
  readonly policies: readonly CiliumEgressGatewayPolicy[];
  readonly pods: readonly EgressPod[];
  readonly namespaces: ReadonlyMap<string, Labels>;
  /** All nodes of the cluster, this one too. */
  readonly nodes: readonly EgressNode[];
  /** Those that say that they live. */
  readonly living: ReadonlySet<string>;
  /** Living ones that are to be relieved: used only where there is no other. */
  readonly draining: ReadonlySet<string>;
  /** This node's own devices. */
  readonly interfaces: readonly { readonly name: string; readonly addresses: readonly Address[] }[];
  /** This node's addresses towards the world. */
  readonly nodeAddresses: readonly Address[];
  /** Of the network between nodes: by it gateways are reached. */
  readonly underlay: Family;
  /** Routes at most. */
  readonly limit: number;
}

/** What became of one policy, for people. */
export interface EgressRow {
  readonly policy: string;
  /** Nodes that may be the gateway, the preferred first. */
  readonly candidates: readonly string[];
  /** Undefined: none lives, and the traffic is dropped. */
  readonly gateway: string | undefined;
  /** What the world sees, as far as this node knows: of another's interface it does not. */
  readonly addresses: readonly Address[];
  /** Selected ones whose way this node has to know. */
  readonly pods: number;
  readonly problems: readonly string[];
}

export interface EgressPlan {
  readonly routes: readonly EgressRoute[];
  /** Addresses that this node is the gateway with: it answers for them, and announces them. */
  readonly held: readonly {
    readonly policy: string;
    readonly labels: Labels;
    readonly address: Address;
  }[];
  /** This node may be the gateway of a policy: others must know whether it lives. */
  readonly candidate: boolean;
  readonly rows: readonly EgressRow[];
}

interface Gateway {
  readonly node: EgressNode;
  /** Of several entries for one node, the first with an address of the family says it. */
  readonly specs: GatewaySpec[];
}

type GatewaySpec = NonNullable<CiliumEgressGatewayPolicy['spec']['egressGateway']>;

const FAMILIES: readonly Family[] = ['ipv4', 'ipv6'];

/**
 * From policies to the routes of this node: its own pods' way to their gateways, and where it is a gateway, that of
 * all pods. Every node chooses the same gateway: the first in the policy's order, and by name within one selector,
 * that lives. Of two policies for one pod and destination the first by name counts. Pure.
 */
export function planEgress(inputs: EgressInputs): EgressPlan {
  const routes = new Map<string, EgressRoute>();
  const held = new Map<Address, EgressPlan['held'][number]>();
  const rows: EgressRow[] = [];
  let candidate = false;
  let left = 0;
  const put = (route: EgressRoute): void => {
    const key = `${route.source} ${route.destination}`;
    if (routes.has(key)) return;
    if (routes.size < inputs.limit) routes.set(key, route);
    else left++;
  };
  const nodes = new Map(inputs.nodes.map((each) => [each.name, each]));
  const policies = inputs.policies.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  for (const policy of policies) {
    const { name, labels = {} } = policy.metadata;
    const problems: string[] = [];
    const candidates = candidatesOf(policy, inputs.nodes);
    if (candidates.some(({ node }) => node.name === inputs.node)) candidate = true;
    const gateway = chooseGateway(candidates, inputs);
    const mine = gateway?.node.name === inputs.node;
    const via = gateway && reachedBy(gateway.node, inputs.underlay);
    if (gateway !== undefined && via === undefined) {
      problems.push(`the gateway ${gateway.node.name} has no ${inputs.underlay} address`);
    }
    if (candidates.length === 0) problems.push('no node is selected as gateway');
    else if (gateway === undefined) problems.push('none of its gateways lives');
    const egress = new Map<Family, Address>();
    for (const family of FAMILIES) {
      const address = gateway?.specs
        .map((spec) => egressAddress(spec, gateway.node, family, mine, inputs, problems))
        .find((each) => each !== undefined);
      if (address !== undefined) egress.set(family, address);
    }
    const selected = inputs.pods.filter(
      (pod) => (mine || pod.node === inputs.node) && chooses(policy, pod, inputs.namespaces, nodes),
    );
    for (const pod of selected) {
      for (const source of pod.addresses) {
        const family = Address.family(source);
        const of = (list: readonly string[] = []) =>
          list
            .map((text) => Prefix.parse(text, { hostBits: 'clear' }))
            .filter((prefix) => Prefix.family(prefix) === family);
        for (const destination of of(policy.spec.excludedCIDRs)) {
          const excluded = { gateway: undefined, egressAddress: undefined, excluded: true };
          put({ source, destination, ...excluded });
        }
        // Without an address of the family the traffic must not leave under another.
        const egressAddress = via && egress.get(family);
        const to = egressAddress === undefined ? undefined : via;
        for (const destination of of(policy.spec.destinationCIDRs)) {
          put({ source, destination, gateway: to, egressAddress });
        }
      }
    }
    if (mine) {
      for (const address of egress.values()) held.set(address, { policy: name, labels, address });
    }
    rows.push({
      policy: name,
      candidates: candidates.map(({ node }) => node.name),
      gateway: gateway?.node.name,
      addresses:
        mine || gateway?.specs.every(({ egressIP }) => egressIP !== undefined)
          ? [...egress.values()]
          : [],
      pods: selected.length,
      problems,
    });
  }
  const last = rows.at(-1);
  if (left > 0 && last !== undefined) {
    const problem = `${left} routes of the policies find no room among ${inputs.limit}`;
    rows[rows.length - 1] = { ...last, problems: [...last.problems, problem] };
  }
  return { routes: [...routes.values()], held: [...held.values()], candidate, rows };
}

function candidatesOf(
  { spec }: CiliumEgressGatewayPolicy,
  nodes: readonly EgressNode[],
): Gateway[] {
  const specs = spec.egressGateways?.length ? spec.egressGateways : [spec.egressGateway!];
  const sorted = nodes.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const found = new Map<string, Gateway>();
  for (const each of specs) {
    for (const node of sorted) {
      if (each.nodeSelector !== undefined && !selects(each.nodeSelector, node.labels)) continue;
      const known = found.get(node.name);
      if (known === undefined) found.set(node.name, { node, specs: [each] });
      else known.specs.push(each);
    }
  }
  return [...found.values()];
}

function chooseGateway(
  candidates: readonly Gateway[],
  { living, draining }: EgressInputs,
): Gateway | undefined {
  const alive = candidates.filter(({ node }) => living.has(node.name));
  return alive.find(({ node }) => !draining.has(node.name)) ?? alive[0];
}

const reachedBy = ({ addresses }: EgressNode, family: Family): Address | undefined =>
  addresses.find((each) => Address.family(each) === family);

/** With an interface only the gateway itself knows the address; the others need none but a sign that there is one. */
function egressAddress(
  { egressIP, interface: device }: GatewaySpec,
  node: EgressNode,
  family: Family,
  mine: boolean,
  { interfaces, nodeAddresses }: EgressInputs,
  problems: string[],
): Address | undefined {
  if (egressIP !== undefined) {
    const address = Address.parse(egressIP);
    return Address.family(address) === family ? address : undefined;
  }
  if (!mine) return reachedBy(node, family);
  if (device === undefined) return nodeAddresses.find((each) => Address.family(each) === family);
  const found = interfaces.find(({ name }) => name === device);
  if (found === undefined && family === 'ipv4') {
    problems.push(`this node is the gateway and has no interface ${device}`);
  }
  return found?.addresses.find((each) => Address.family(each) === family && !isLinkLocal(each));
}

const isLinkLocal = (address: Address): boolean =>
  Address.family(address) === 'ipv6' && Address.isLinkLocal(address);

function chooses(
  { spec }: CiliumEgressGatewayPolicy,
  pod: EgressPod,
  namespaces: EgressInputs['namespaces'],
  nodes: ReadonlyMap<string, EgressNode>,
): boolean {
  // Cilium selects a pod's namespace by a label of this key as well.
  const labels = { ...pod.labels, 'io.kubernetes.pod.namespace': pod.namespace };
  return spec.selectors.some(({ podSelector, namespaceSelector, nodeSelector }) => {
    if (podSelector !== undefined && !selects(podSelector, labels)) return false;
    if (namespaceSelector !== undefined) {
      const namespace = namespaces.get(pod.namespace);
      if (namespace === undefined || !selects(namespaceSelector, namespace)) return false;
    }
    if (nodeSelector === undefined) return true;
    const node = nodes.get(pod.node ?? '');
    return node !== undefined && selects(nodeSelector, node.labels);
  });
}
