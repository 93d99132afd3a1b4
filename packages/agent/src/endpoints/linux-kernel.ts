import { Address, Mac } from '@causeway/ip';
import {
  type Link,
  LinuxError,
  Netns,
  type RtRequest,
  RtSocket,
  readSysctl,
  request,
  writeSysctl,
} from '@causeway/linux';
import { AgentError } from '../errors.ts';
import type {
  EndpointKernel,
  FoundInterface,
  HostLink,
  PodInterface,
  PodNamespace,
} from './kernel.ts';

class OpenNamespace implements PodNamespace {
  readonly netns: Netns;
  readonly identity: string;

  constructor(netns: Netns) {
    this.netns = netns;
    this.identity = identityText(netns);
  }

  [Symbol.dispose](): void {
    this.netns.close();
  }
}

const identityText = ({ identity }: Netns): string => `${identity.device}:${identity.inode}`;

const FAMILIES = ['ipv4', 'ipv6'] as const;

/** Links of this group are on their way out. The number is ours by chance alone: nobody else counts so high. */
const LEAVING_GROUP = 0x0c5a_de1e;

/**
 * The kernel takes 20 ms to take devices away, one or many, and the event loop stands still meanwhile. Node
 * accepts one connection in each turn of the loop, so removals that follow each other would find one company
 * each: a removal shortly after another gives the loop time to take in who else waits.
 */
const BURST_WINDOW_MS = 50;
const GATHER_MS = 5;

interface Removal {
  readonly name: string;
  readonly resolve: (removed: boolean) => void;
  readonly reject: (error: unknown) => void;
}

/** The real kernel, by rtnetlink. One socket for the node's own namespace, one opened per pod and call. */
export class LinuxEndpointKernel implements EndpointKernel, Disposable {
  readonly #socket: RtSocket;
  readonly #removals: Removal[] = [];
  #lastRemoval = Number.NEGATIVE_INFINITY;
  /** What a new device needs beside what it inherits; looked at once a second at most. */
  #reversePath: { readonly wanted: string | undefined; readonly until: number } = {
    wanted: undefined,
    until: 0,
  };
  readonly #ownIdentity: string;

  constructor() {
    using own = Netns.current();
    this.#ownIdentity = identityText(own);
    this.#socket = RtSocket.open();
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  openNamespace(path: string): PodNamespace {
    let netns: Netns;
    try {
      netns = Netns.open(path);
    } catch (cause) {
      throw new AgentError('netns-missing', `cannot open the network namespace ${path}`, {
        field: 'netns',
        value: path,
        hint: 'give the path of a network namespace that exists and that root can open',
        cause,
      });
    }
    const opened = new OpenNamespace(netns);
    if (opened.identity === this.#ownIdentity) {
      netns.close();
      throw new AgentError('netns-is-node', `${path} is the node's own network namespace`, {
        field: 'netns',
        value: path,
        hint: 'a pod on the host network needs no interface; do not call the plugin for it',
      });
    }
    return opened;
  }

  createInterface(namespace: PodNamespace, spec: PodInterface): { hostIfindex: number } {
    const { netns } = namespace as OpenNamespace;
    try {
      this.#socket.apply(
        request.createVeth({
          name: spec.hostIfname,
          mac: Mac.toBytes(spec.hostMac),
          mtu: spec.mtu,
          up: false,
          alias: spec.alias,
          // The programs speak for this side: a link-local address of its own would only make noise.
          addressGeneration: 'none',
          peer: {
            name: spec.ifname,
            mac: Mac.toBytes(spec.mac),
            mtu: spec.mtu,
            up: true,
            namespace: netns,
          },
        }),
      );
    } catch (cause) {
      if (cause instanceof LinuxError && cause.code === 'exists') {
        throw new AgentError(
          'interface-exists',
          `${spec.ifname} exists in the pod, or ${spec.hostIfname} on the node`,
          {
            field: 'ifname',
            value: spec.ifname,
            hint: 'the container has an interface of this name from somebody else; choose another name',
            cause,
          },
        );
      }
      throw cause;
    }
    const host = this.#socket.link({ name: spec.hostIfname });
    if (host?.peerIndex === undefined) {
      throw new AgentError('interface-missing', `${spec.hostIfname} vanished while it was made`, {
        field: 'netns',
        hint: "the container's network namespace has probably gone; try again",
      });
    }
    this.#relaxReversePath(spec.hostIfname);
    this.#dress(netns, host.peerIndex, spec);
    return { hostIfindex: host.index };
  }

  findInterface(namespace: PodNamespace, ifname: string): FoundInterface {
    using socket = RtSocket.open((namespace as OpenNamespace).netns);
    const link = socket.link({ name: ifname });
    const host =
      link?.peerIndex === undefined ? undefined : this.#socket.link({ index: link.peerIndex });
    if (link?.kind !== 'veth' || host?.kind !== 'veth' || host.peerIndex !== link.index) {
      throw new AgentError(
        'interface-missing',
        `${ifname} in the pod is no veth whose other side is on this node`,
        {
          field: 'ifname',
          value: ifname,
          hint: 'causeway can follow plugins that make a veth with its host side on the node, such as ptp',
        },
      );
    }
    const own = socket
      .addresses({ ifindex: link.index })
      .map(({ address }) => Address.fromBytes(address))
      .filter((address) => !Address.isLinkLocal(address));
    const ipv4 = own.find(Address.isIPv4);
    const ipv6 = own.find(Address.isIPv6);
    return {
      mac: Mac.fromBytes(link.mac),
      mtu: link.mtu,
      addresses: { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) },
      host: hostLinkOf(host),
    };
  }

  raise(hostIfindex: number): void {
    this.#socket.apply(request.setLink({ index: hostIfindex }, { up: true }));
  }

  hostLink(name: string): HostLink | undefined {
    const link = this.#socket.link({ name });
    return link === undefined ? undefined : hostLinkOf(link);
  }

  hostLinks(): HostLink[] {
    return this.#socket.links().map(hostLinkOf);
  }

  removeInterface(hostIfname: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#removals.push({ name: hostIfname, resolve, reject });
      if (this.#removals.length > 1) return;
      const burst = performance.now() - this.#lastRemoval < BURST_WINDOW_MS;
      setTimeout(() => this.#removeAll(), burst ? GATHER_MS : 0);
    });
  }

  /** All that are to go by now go together: the kernel's wait for its readers is nearly all the cost. */
  #removeAll(): void {
    const removals = this.#removals.splice(0);
    try {
      const marked = this.#socket.tryApply(
        removals.map(({ name }) => request.setLink({ name }, { group: LEAVING_GROUP })),
      );
      if (marked.some((error) => error === undefined)) {
        this.#socket.apply(request.deleteLinkGroup(LEAVING_GROUP));
      }
      removals.forEach(({ resolve, reject }, index) => {
        const error = marked[index];
        if (error === undefined) resolve(true);
        else if (error.code === 'not-found') resolve(false);
        else reject(error);
      });
    } catch (error) {
      for (const { reject } of removals) reject(error);
    }
    this.#lastRemoval = performance.now();
  }

  /**
   * The route back to a pod is by cw_host, so a strict reverse path filter would drop what the pod
   * sends through the stack. The greater of `all` and the device's own counts: loose (2) beats strict (1).
   */
  #relaxReversePath(device: string): void {
    const now = performance.now();
    if (now > this.#reversePath.until) {
      const wanted = readSysctl('net/ipv4/conf/all/rp_filter').trim() === '0' ? '0' : '2';
      const inherited = readSysctl('net/ipv4/conf/default/rp_filter').trim();
      this.#reversePath = { wanted: inherited === wanted ? undefined : wanted, until: now + 1_000 };
    }
    const { wanted } = this.#reversePath;
    if (wanted !== undefined) writeSysctl(`net/ipv4/conf/${device}/rp_filter`, wanted);
  }

  differences(namespace: PodNamespace, spec: PodInterface): string[] {
    using socket = RtSocket.open((namespace as OpenNamespace).netns);
    const link = socket.link({ name: spec.ifname });
    if (link === undefined) return [`the pod has no interface ${spec.ifname}`];
    const wrong: string[] = [];
    if (!link.up) wrong.push(`${spec.ifname} is down`);
    const mac = Mac.fromBytes(link.mac);
    if (mac !== spec.mac) wrong.push(`${spec.ifname} has MAC ${mac}, not ${spec.mac}`);
    if (link.mtu !== spec.mtu) wrong.push(`${spec.ifname} has MTU ${link.mtu}, not ${spec.mtu}`);
    const addresses = socket
      .addresses({ ifindex: link.index })
      .map(({ address }) => Address.fromBytes(address));
    const routes = socket.routes({ ifindex: link.index });
    for (const family of FAMILIES) {
      const wanted = spec.addresses[family];
      if (wanted === undefined) continue;
      if (!addresses.includes(wanted)) wrong.push(`${spec.ifname} lacks the address ${wanted}`);
      const gateway = spec.gateways[family];
      const number = family === 'ipv4' ? 4 : 6;
      const through = routes.find(
        (route) =>
          route.family === number && route.destination === undefined && route.via !== undefined,
      );
      if (
        gateway !== undefined &&
        (through?.via === undefined || Address.fromBytes(through.via) !== gateway)
      ) {
        wrong.push(`${spec.ifname} lacks the ${family} default route via ${gateway}`);
      }
    }
    return wrong;
  }

  /** Addresses, routes and the loopback of the pod, in one batch on one socket in its namespace. */
  #dress(netns: Netns, ifindex: number, spec: PodInterface): void {
    using socket = RtSocket.open(netns);
    const batch: RtRequest[] = [request.setLink({ name: 'lo' }, { up: true })];
    for (const family of FAMILIES) {
      const address = spec.addresses[family];
      if (address === undefined) continue;
      batch.push(
        request.addAddress({
          ifindex,
          address: Address.toBytes(address),
          prefixLength: Address.width(family),
          // The address is ours alone: detection of duplicates would cost the pod its first second.
          noDad: family === 'ipv6',
        }),
      );
      const gateway = spec.gateways[family];
      if (gateway === undefined) continue;
      const number = family === 'ipv4' ? 4 : 6;
      const via = Address.toBytes(gateway);
      batch.push(
        request.addRoute({
          family: number,
          destination: via,
          ifindex,
          scope: 'link',
          protocol: 3,
        }),
        request.addRoute({ family: number, via, ifindex, protocol: 3 }),
      );
    }
    const errors = socket.tryApply(batch);
    if (!errors.some((error) => error !== undefined)) return;
    // Container runtimes switch IPv6 off by default (net.ipv6.conf.all.disable_ipv6): this pod has it.
    if (spec.addresses.ipv6 !== undefined) {
      writeSysctl(`net/ipv6/conf/${spec.ifname}/disable_ipv6`, 0, netns);
    }
    socket.apply(batch.filter((_, index) => errors[index] !== undefined));
  }
}

const hostLinkOf = (link: Link): HostLink => ({
  index: link.index,
  name: link.name,
  alias: link.alias,
  kind: link.kind,
  mac: Mac.fromBytes(link.mac.length === 6 ? link.mac : new Uint8Array(6)),
  mtu: link.mtu,
  up: link.up,
});
