import { rmSync } from 'node:fs';
import { Address, Mac, Prefix } from '@causeway/ip';
import { ensureBpffs, Netns, RtSocket, request, writeSysctl } from '@causeway/linux';
import type { Datapath } from '../datapath.ts';
import { type DatapathOptions, openDatapath } from '../open.ts';

/** A pod of a test: a namespace behind a veth of its node. */
export interface TestPod {
  readonly ns: Netns;
  readonly nsName: string;
  readonly ipv4: Address;
  readonly ipv6: Address;
  readonly mac: Mac;
  readonly hostMac: Mac;
  readonly hostIfname: string;
  readonly hostIfindex: number;
  readonly endpointId: number;
  readonly identity: number;
}

export interface NodeSiteOptions {
  /** Short; unique within the test. The pid is added. */
  readonly name: string;
  /** 1 to 250: the node's number in all addresses. */
  readonly number: number;
  readonly tunnel?: boolean;
  /** A tunnel for egress gateways alone. */
  readonly egressTunnel?: boolean;
  readonly datapath?: Partial<Omit<DatapathOptions, 'config' | 'bpffsRoot'>> & {
    readonly config?: Partial<DatapathOptions['config']>;
  };
}

const small = {
  conntrack: 4096,
  nat: 4096,
  fragments: 256,
  affinity: 1024,
  socketReverseNat: 1024,
} as const;

const bytes = (address: Address) => Address.toBytes(address);

/**
 * A node in a namespace with gateway device, network device (once connected), tunnel device and its own
 * datapath. Addresses by number n: node 192.0.2.n and 2001:db8::n, pods 10.n.0.x and fd00:n::x, gateway x = 1.
 */
export class NodeSite implements Disposable {
  readonly ns: Netns;
  readonly nsName: string;
  readonly number: number;
  readonly datapath: Datapath;
  readonly bpffsRoot: string;
  readonly ipv4: Address;
  readonly ipv6: Address;
  readonly gateway4: Address;
  readonly gateway6: Address;
  readonly options: DatapathOptions;
  readonly tunnel: boolean;
  readonly pods: TestPod[] = [];
  readonly #undo = new DisposableStack();

  constructor(options: NodeSiteOptions) {
    const { name, number, tunnel = false, egressTunnel = false } = options;
    this.number = number;
    this.tunnel = tunnel;
    this.nsName = `cwdp${name}${process.pid}`;
    this.ipv4 = Address.parse(`192.0.2.${number}`);
    this.ipv6 = Address.parse(`2001:db8::${number}`);
    this.gateway4 = Address.parse(`10.${number}.0.1`);
    this.gateway6 = Address.parse(`fd00:${number}::1`);
    this.bpffsRoot = `/sys/fs/bpf/${this.nsName}`;
    try {
      this.ns = this.#undo.use(Netns.create(this.nsName));
      this.#undo.defer(() => Netns.remove(this.nsName));
      const { host, overlay } = this.#devices(tunnel || egressTunnel);
      const device = overlay !== undefined && { ifindex: overlay, mtu: 1450 };
      ensureBpffs('/sys/fs/bpf');
      this.#undo.defer(() => rmSync(this.bpffsRoot, { recursive: true, force: true }));
      this.options = {
        dropEventsPerSecond: 100_000,
        ...options.datapath,
        bpffsRoot: this.bpffsRoot,
        limits: { ...small, ...options.datapath?.limits },
        config: {
          ipv4: true,
          ipv6: true,
          host,
          gateways: { ipv4: this.gateway4, ipv6: this.gateway6 },
          ...(device && (tunnel ? { overlay: device } : { egressOverlay: device })),
          ...options.datapath?.config,
        },
      };
      this.datapath = this.#undo.use(openDatapath(this.options));
      for (const address of [this.gateway4, this.gateway6]) this.datapath.putNodeAddress(address);
      this.attachOwnDevices();
    } catch (error) {
      this.#undo.dispose();
      throw error;
    }
  }

  #devices(tunnel: boolean): { host: { ifindex: number; mac: Mac }; overlay: number | undefined } {
    const { number } = this;
    // Addresses are good at once, not after a second of duplicate detection.
    writeSysctl('net/ipv6/conf/default/accept_dad', 0, this.ns);
    writeSysctl('net/ipv4/conf/all/forwarding', 1, this.ns);
    writeSysctl('net/ipv6/conf/all/forwarding', 1, this.ns);
    using rt = RtSocket.open(this.ns);
    rt.apply([
      request.setLink({ name: 'lo' }, { up: true }),
      request.createVeth({
        name: 'cw_host',
        up: true,
        noArp: true,
        addressGeneration: 'none',
        peer: { name: 'cw_net', up: true, noArp: true, addressGeneration: 'none' },
      }),
    ]);
    const host = rt.link({ name: 'cw_host' })!;
    rt.apply([
      request.addAddress({ ifindex: host.index, address: bytes(this.gateway4), prefixLength: 32 }),
      request.addAddress({
        ifindex: host.index,
        address: bytes(this.gateway6),
        prefixLength: 128,
        noDad: true,
      }),
      request.addRoute({
        family: 4,
        destination: bytes(Address.parse(`10.${number}.0.0`)),
        prefixLength: 24,
        ifindex: host.index,
        source: bytes(this.gateway4),
      }),
      request.addRoute({
        family: 6,
        destination: bytes(Address.parse(`fd00:${number}::`)),
        prefixLength: 64,
        ifindex: host.index,
        source: bytes(this.gateway6),
      }),
    ]);
    if (tunnel) {
      rt.apply(
        request.createVxlan({
          name: 'cw_vxlan',
          port: 8472,
          mtu: 1450,
          up: true,
          addressGeneration: 'none',
        }),
      );
    }
    return {
      host: { ifindex: host.index, mac: Mac.fromBytes(host.mac) },
      overlay: tunnel ? rt.link({ name: 'cw_vxlan' })!.index : undefined,
    };
  }

  /** Again after a restart of the datapath. */
  attachOwnDevices(datapath = this.datapath): void {
    this.ns.run(() => {
      const { host, overlay: own, egressOverlay } = this.options.config;
      const overlay = own ?? egressOverlay;
      datapath.attachDevice('host', { ifname: 'cw_host', ifindex: host.ifindex });
      if (overlay !== undefined) {
        datapath.attachDevice('overlay', { ifname: 'cw_vxlan', ifindex: overlay.ifindex });
      }
    });
  }

  /** A pod `x` (2 to 250) with its rows; no policy. */
  addPod(x: number, identity = 1000 + x): TestPod {
    const nsName = `${this.nsName}p${x}`;
    const ns = this.#undo.use(Netns.create(nsName));
    this.#undo.defer(() => Netns.remove(nsName));
    const hostIfname = `cwp${x}`;
    const ipv4 = Address.parse(`10.${this.number}.0.${x}`);
    const ipv6 = Address.parse(`fd00:${this.number}::${x}`);
    using rt = RtSocket.open(this.ns);
    rt.apply(
      request.createVeth({
        name: hostIfname,
        up: true,
        mtu: this.tunnel ? 1450 : 1500,
        addressGeneration: 'none',
        peer: { name: 'eth0', namespace: ns, up: true, mtu: this.tunnel ? 1450 : 1500 },
      }),
    );
    const link = rt.link({ name: hostIfname })!;
    using inside = RtSocket.open(ns);
    const eth0 = inside.link({ name: 'eth0' })!;
    inside.apply([
      request.setLink({ name: 'lo' }, { up: true }),
      request.addAddress({ ifindex: eth0.index, address: bytes(ipv4), prefixLength: 32 }),
      request.addAddress({
        ifindex: eth0.index,
        address: bytes(ipv6),
        prefixLength: 128,
        noDad: true,
      }),
    ]);
    for (const gateway of [this.gateway4, this.gateway6]) {
      const family = Address.isIPv4(gateway) ? 4 : 6;
      inside.apply([
        request.addRoute({
          family,
          destination: bytes(gateway),
          ifindex: eth0.index,
          scope: 'link',
        }),
        request.addRoute({ family, via: bytes(gateway), ifindex: eth0.index, onlink: true }),
      ]);
    }
    const pod: TestPod = {
      ns,
      nsName,
      ipv4,
      ipv6,
      mac: Mac.fromBytes(eth0.mac),
      hostMac: Mac.fromBytes(link.mac),
      hostIfname,
      hostIfindex: link.index,
      endpointId: x,
      identity,
    };
    this.pods.push(pod);
    this.putPod(pod);
    this.ns.run(() => this.datapath.attachPod(hostIfname, link.index));
    return pod;
  }

  /** Writes a pod's rows anew, under a policy if given. */
  putPod(
    pod: TestPod,
    policy: Partial<Parameters<Datapath['enforcement']['putEndpoint']>[0]> = {},
  ): void {
    for (const address of [pod.ipv4, pod.ipv6]) {
      this.datapath.enforcement.putEndpoint({
        address,
        ifindex: pod.hostIfindex,
        endpointId: pod.endpointId,
        identity: pod.identity,
        policyId: 0,
        policyRevision: 1,
        mac: pod.mac,
        hostMac: pod.hostMac,
        ingress: 'off',
        egress: 'off',
        ...policy,
      });
    }
  }

  /** Tells this node of another one: its pods by name, its CIDRs by route or tunnel. */
  learn(other: NodeSite, over: number): void {
    const tunnelEndpoint = this.tunnel ? other.ipv4 : undefined;
    const value = (identity: number, tunnelled: boolean) => ({
      identity,
      tunnelEndpoint: tunnelled ? tunnelEndpoint : undefined,
      noMasquerade: true,
      isProtected: false,
      isNode: identity === 6,
    });
    this.datapath.ipcache.putAll([
      [Prefix.host(other.ipv4), value(6, false)],
      [Prefix.host(other.ipv6), value(6, false)],
      [Prefix.host(other.gateway4), value(6, true)],
      [Prefix.host(other.gateway6), value(6, true)],
      ...other.pods.flatMap((pod) => [
        [Prefix.host(pod.ipv4), value(pod.identity, true)] as const,
        [Prefix.host(pod.ipv6), value(pod.identity, true)] as const,
      ]),
    ]);
    using rt = RtSocket.open(this.ns);
    const host = rt.link({ name: 'cw_host' })!.index;
    for (const [family, net, length, via, source] of [
      [4, `10.${other.number}.0.0`, 24, other.ipv4, this.gateway4],
      [6, `fd00:${other.number}::`, 64, other.ipv6, this.gateway6],
    ] as const) {
      rt.apply(
        request.replaceRoute({
          family,
          destination: bytes(Address.parse(net)),
          prefixLength: length,
          ...(this.tunnel
            ? { ifindex: host, source: bytes(source), mtu: 1450 }
            : { ifindex: over, via: bytes(via) }),
        }),
      );
    }
  }

  [Symbol.dispose](): void {
    this.#undo.dispose();
  }
}

/** A cable between two nodes, both ends called eth0, with their addresses and programs. */
export function connect(a: NodeSite, b: NodeSite): void {
  {
    using rt = RtSocket.open(a.ns);
    rt.apply(
      request.createVeth({
        name: 'eth0',
        up: true,
        peer: { name: 'eth0', namespace: b.ns, up: true },
      }),
    );
  }
  for (const site of [a, b]) {
    using rt = RtSocket.open(site.ns);
    const eth0 = rt.link({ name: 'eth0' })!.index;
    rt.apply([
      request.addAddress({ ifindex: eth0, address: bytes(site.ipv4), prefixLength: 24 }),
      request.addAddress({
        ifindex: eth0,
        address: bytes(site.ipv6),
        prefixLength: 64,
        noDad: true,
      }),
    ]);
    for (const address of [site.ipv4, site.ipv6]) site.datapath.putNodeAddress(address);
    site.ns.run(() =>
      site.datapath.attachDevice('network', {
        ifname: 'eth0',
        ifindex: eth0,
        ipv4: site.ipv4,
        ipv6: site.ipv6,
      }),
    );
    site.learn(site === a ? b : a, eth0);
  }
}
