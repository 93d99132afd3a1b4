import { Address } from '@causeway/ip';
import { Netns, RtSocket, request, writeSysctl } from '@causeway/linux';
import type { NodeSite } from './node-site.ts';

const bytes = (address: Address) => Address.toBytes(address);

/** A host outside of the cluster, behind a device of its own of a node. */
export interface OutsideClient extends Disposable {
  readonly ns: Netns;
  readonly nsName: string;
  readonly ipv4: Address;
  readonly ipv6: Address;
  /** The node's side. */
  readonly ifname: string;
  readonly ifindex: number;
  /** Addresses of the node on that side. */
  readonly router4: Address;
  readonly router6: Address;
}

/** Client `n` (1 to 9) at `site`, which is its router; all `others` reach it through `site`. */
export function addClient(
  site: NodeSite,
  n: number,
  others: readonly NodeSite[] = [],
): OutsideClient {
  using undo = new DisposableStack();
  const nsName = `${site.nsName}c${n}`;
  const ns = undo.use(Netns.create(nsName));
  undo.defer(() => Netns.remove(nsName));
  const ifname = `cl${n}`;
  const ipv4 = Address.parse(`203.0.113.${n * 16 + 2}`);
  const ipv6 = Address.parse(`2001:db8:c${n}::2`);
  const router4 = Address.parse(`203.0.113.${n * 16 + 1}`);
  const router6 = Address.parse(`2001:db8:c${n}::1`);
  writeSysctl('net/ipv6/conf/default/accept_dad', 0, ns);
  using rt = RtSocket.open(site.ns);
  rt.apply(
    request.createVeth({
      name: ifname,
      up: true,
      peer: { name: 'eth0', namespace: ns, up: true },
    }),
  );
  const ifindex = rt.link({ name: ifname })!.index;
  rt.apply([
    request.addAddress({ ifindex, address: bytes(router4), prefixLength: 28 }),
    request.addAddress({ ifindex, address: bytes(router6), prefixLength: 64, noDad: true }),
  ]);
  using inside = RtSocket.open(ns);
  const eth0 = inside.link({ name: 'eth0' })!.index;
  inside.apply([
    request.setLink({ name: 'lo' }, { up: true }),
    request.addAddress({ ifindex: eth0, address: bytes(ipv4), prefixLength: 28 }),
    request.addAddress({ ifindex: eth0, address: bytes(ipv6), prefixLength: 64, noDad: true }),
    request.addRoute({ family: 4, via: bytes(router4), ifindex: eth0 }),
    request.addRoute({ family: 6, via: bytes(router6), ifindex: eth0 }),
  ]);
  for (const address of [router4, router6]) site.datapath.putNodeAddress(address);
  site.ns.run(() =>
    site.datapath.attachDevice('network', { ifname, ifindex, ipv4: router4, ipv6: router6 }),
  );
  for (const other of others) {
    using far = RtSocket.open(other.ns);
    const over = far.link({ name: 'eth0' })!.index;
    far.apply([
      request.addRoute({
        family: 4,
        destination: bytes(Address.parse(`203.0.113.${n * 16}`)),
        prefixLength: 28,
        via: bytes(site.ipv4),
        ifindex: over,
      }),
      request.addRoute({
        family: 6,
        destination: bytes(Address.parse(`2001:db8:c${n}::`)),
        prefixLength: 64,
        via: bytes(site.ipv6),
        ifindex: over,
      }),
    ]);
  }
  const owned = undo.move();
  return {
    ...{ ns, nsName, ipv4, ipv6, ifname, ifindex, router4, router6 },
    [Symbol.dispose]: () => owned.dispose(),
  };
}
