/**
 * Client, edge node and backend on two cables, without agents: an XDP program sends frames from the client's namespace,
 * another ends and counts them in the backend's. What lies between is what is measured.
 */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Datapath, openDatapath } from '@causeway/datapath';
import { Address, Mac } from '@causeway/ip';
import {
  attachTcx,
  attachXdp,
  type BpfLink,
  ensureBpffs,
  LinuxError,
  type LoadedObject,
  loadObject,
  Netns,
  RtSocket,
} from '@causeway/linux';
import { SLOTS_PER_CHUNK } from '@causeway/loadbalancing';
import { takeAwayOnInterrupt, temporaryDirectory } from './interrupt.ts';

const CLIENT = Address.parse('203.0.113.2');
const BACKEND = Address.parse('10.77.0.2');
const EDGE = Address.parse('10.77.0.1');
const VIP = Address.parse('198.18.0.1');
const PORT = 80;
const TARGET_PORT = 8080;
/** Frames that a batch of the generator has: the veth's ring takes four such. */
const BATCH = 64;
/** Packets that one system call sends. */
const SHARE = 20_000;

const bytes = (address: Address) => [...Address.toBytes(address)];

/** A UDP datagram without a checksum to the virtual address; the generator fills in source ports. */
function datagram(source: Mac, destination: Mac): Uint8Array {
  const length = 60 - 14;
  const ip = [0x45, 0, 0, length, 0, 0, 0, 0, 64, 17, 0, 0, ...bytes(CLIENT), ...bytes(VIP)];
  const view = new DataView(Uint8Array.from(ip).buffer);
  let sum = 0;
  for (let at = 0; at < ip.length; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  ip[10] = (~sum >> 8) & 255;
  ip[11] = ~sum & 255;
  const udp = [0, 0, PORT >> 8, PORT & 255, 0, length - 20, 0, 0];
  const frame = new Uint8Array(60);
  frame.set([...Mac.toBytes(destination), ...Mac.toBytes(source), 8, 0, ...ip, ...udp]);
  return frame;
}

/** What stands in the edge node's way of a packet. */
export type Way = 'xdp, driver' | 'xdp, generic' | 'tc' | 'nftables';

export class EdgeLoad implements Disposable {
  readonly #undo = new DisposableStack();
  readonly #names: Readonly<Record<'client' | 'edge' | 'backend', string>>;
  readonly #ns: Readonly<Record<'client' | 'edge' | 'backend', Netns>>;
  readonly #datapath: Datapath;
  readonly #load: LoadedObject;
  readonly #frame: Uint8Array;
  readonly #ifindex: { readonly outside: number; readonly inside: number; readonly sink: number };
  #services = 0;

  constructor(flows: number) {
    const tag = `cwedge${process.pid}`;
    this.#names = { client: `${tag}c`, edge: `${tag}e`, backend: `${tag}b` };
    this.#undo.defer(takeAwayOnInterrupt(() => this[Symbol.dispose]()));
    try {
      const make = (name: string): Netns => {
        const ns = this.#undo.use(Netns.create(name));
        this.#undo.defer(() => Netns.remove(name));
        return ns;
      };
      this.#ns = {
        client: make(this.#names.client),
        edge: make(this.#names.edge),
        backend: make(this.#names.backend),
      };
      this.#links();
      const link = (ns: Netns, name: string) => {
        using rt = RtSocket.open(ns);
        const found = rt.link({ name })!;
        return { ifindex: found.index, mac: Mac.fromBytes(found.mac) };
      };
      const [client, outside] = [link(this.#ns.client, 'eth0'), link(this.#ns.edge, 'outside')];
      const [inside, backend] = [link(this.#ns.edge, 'inside'), link(this.#ns.backend, 'eth0')];
      this.#ifindex = {
        outside: outside.ifindex,
        inside: inside.ifindex,
        sink: backend.ifindex,
      };
      this.#ip('edge', `neigh replace ${BACKEND} lladdr ${backend.mac} dev inside`);
      this.#frame = datagram(client.mac, outside.mac);
      this.#load = this.#compile(client.ifindex, flows);
      ensureBpffs('/sys/fs/bpf');
      const bpffsRoot = `/sys/fs/bpf/${tag}`;
      this.#undo.defer(() => rmSync(bpffsRoot, { recursive: true, force: true }));
      this.#datapath = this.#undo.use(
        openDatapath({
          bpffsRoot,
          config: {
            ipv4: true,
            ipv6: true,
            host: { ifindex: outside.ifindex, mac: outside.mac },
            gateways: { ipv4: EDGE },
          },
        }),
      );
      this.#datapath.putNodeAddress(EDGE);
    } catch (error) {
      this.#undo.dispose();
      throw error;
    }
  }

  #ip(place: 'client' | 'edge' | 'backend', words: string): void {
    execFileSync('ip', ['-n', this.#names[place], ...words.split(' ')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  }

  #links(): void {
    const { client, backend } = this.#names;
    this.#ip('edge', `link add outside type veth peer name eth0 netns ${client}`);
    this.#ip('edge', `link add inside type veth peer name eth0 netns ${backend}`);
    this.#ip('edge', 'addr add 203.0.113.1/24 dev outside');
    this.#ip('edge', `addr add ${EDGE}/24 dev inside`);
    for (const [place, device] of [
      ['edge', 'lo'],
      ['edge', 'outside'],
      ['edge', 'inside'],
      ['client', 'eth0'],
      ['backend', 'eth0'],
    ] as const) {
      this.#ip(place, `link set ${device} up`);
    }
    // Receive offload gives a veth the queue that frames from an XDP program need.
    for (const [name, device] of [
      [this.#names.edge, 'outside'],
      [backend, 'eth0'],
    ]) {
      execFileSync('ip', ['netns', 'exec', name!, 'ethtool', '-K', device!, 'gro', 'on']);
    }
    execFileSync('ip', [
      ...['netns', 'exec', this.#names.edge, 'sysctl', '-qw', 'net.ipv4.ip_forward=1'],
      ...['net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.outside.rp_filter=0'],
    ]);
  }

  #compile(device: number, flows: number): LoadedObject {
    using directory = temporaryDirectory();
    const path = join(directory.path, 'edge-load.o');
    const include = `/usr/include/${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu`;
    execFileSync('clang', [
      ...['-O2', '-g', '-target', 'bpf', '-mcpu=v3', '-Wall', '-Werror', `-I${include}`],
      ...['-c', join(import.meta.dirname, 'edge-load.c'), '-o', path],
    ]);
    return this.#undo.use(loadObject({ path, constants: { frame: this.#frame, device, flows } }));
  }

  /** So many services; the one that is called is among them. */
  setServices(count: number): void {
    const { services } = this.#datapath;
    const backendIds = new Uint32Array(SLOTS_PER_CHUNK);
    backendIds[0] = 1;
    if (this.#services === 0) {
      services.apply({
        ...{ type: 'backend-put', backendId: 1, address: BACKEND, port: TARGET_PORT },
        ...{ protocol: 'UDP', state: 'active' },
      });
    }
    for (; this.#services < count; this.#services += 1) {
      const serviceId = this.#services + 1;
      const address = Address.add(VIP, this.#services);
      const table = 'main';
      const slots = { serviceId, generation: 1, table, chunk: 0, backendIds, live: false } as const;
      services.apply({ type: 'slots-put', ...slots });
      services.apply({ type: 'reverse-put', serviceId, address, port: PORT });
      services.apply({
        type: 'service-put',
        key: { address, port: PORT, protocol: 'UDP' },
        row: {
          ...{ serviceId, generation: 1, algorithm: 'maglev', slots: 1, count: 1 },
          ...{ affinitySeconds: 0, external: true, nodePort: false, localExternal: false },
          ...{ localInternal: false, localSlots: 0, sourceRanges: false, forwarding: 'dsr' },
        },
      });
    }
    this.#nft('flush ruleset');
  }

  #nft(text: string): void {
    execFileSync('ip', ['netns', 'exec', this.#names.edge, 'nft', '-f', '-'], {
      input: text,
      stdio: ['pipe', 'ignore', 'pipe'],
    });
  }

  /** Destination NAT by one look-up in a map of all services: as cheap as nftables can. */
  #loadNft(): void {
    const elements = Array.from(
      { length: this.#services },
      (_, index) => `${Address.add(VIP, index)} . ${PORT} : ${BACKEND} . ${TARGET_PORT}`,
    );
    this.#nft(`flush ruleset
table ip edge {
  map services {
    type ipv4_addr . inet_service : ipv4_addr . inet_service
    elements = { ${elements.join(', ')} }
  }
  chain arriving {
    type nat hook prerouting priority dstnat; policy accept;
    dnat ip addr . port to ip daddr . udp dport map @services
  }
}`);
  }

  /** Makes this way the one; the returned disposable takes it away. */
  open(way: Way): Disposable {
    const undo = new DisposableStack();
    const { outside, inside, sink } = this.#ifindex;
    const native = way === 'xdp, driver';
    const end = (): BpfLink =>
      native
        ? attachXdp(this.#load.program('sink_frames'), sink, 'native')
        : attachTcx(this.#load.program('sink_packets'), sink, 'ingress');
    const link = this.#ns.backend.run(end);
    undo.defer(() => {
      link.detach();
      link.close();
    });
    if (way === 'nftables') {
      this.#loadNft();
      undo.defer(() => this.#nft('flush ruleset'));
      return undo;
    }
    const devices = [
      { ifname: 'outside', ifindex: outside, ipv4: Address.parse('203.0.113.1') },
      { ifname: 'inside', ifindex: inside, ipv4: EDGE },
    ];
    this.#ns.edge.run(() => {
      for (const device of devices) this.#datapath.attachDevice('network', device);
      if (way === 'tc') return;
      const mode = native ? 'native' : 'generic';
      this.#datapath.attachEdge({ ifname: 'outside', ifindex: outside, mode });
    });
    undo.defer(() =>
      this.#ns.edge.run(() => {
        this.#datapath.detachEdge('outside');
        for (const device of devices) this.#datapath.detachDevice(device.ifname, device.ifindex);
      }),
    );
    return undo;
  }

  /** Sends so many packets; those a second that reached the backend. */
  rate(packets: number): number {
    const before = this.#seen();
    const start = performance.now();
    this.#ns.client.run(() => {
      for (let left = packets; left > 0; left -= SHARE) this.#send(Math.min(left, SHARE));
    });
    const seconds = (performance.now() - start) / 1000;
    return Number(this.#seen() - before) / seconds;
  }

  #send(packets: number): void {
    try {
      const generate = this.#load.program('generate');
      generate.testRun({ data: this.#frame, repeat: packets, live: BATCH });
    } catch (error) {
      // A signal of the runtime's own ends a share early.
      if (!(error instanceof LinuxError && error.errnoName === 'EINTR')) throw error;
    }
  }

  #seen(): bigint {
    const { offset } = this.#load.btf.variables('.bss').find(({ name }) => name === 'seen')!;
    const value = this.#load.map('.bss').get(new Uint8Array(4))!;
    return new DataView(value.buffer, value.byteOffset).getBigUint64(offset, true);
  }

  [Symbol.dispose](): void {
    this.#undo.dispose();
  }
}
