import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Address, Mac } from '@causeway/ip';
import { RtSocket, request } from '@causeway/linux';
import { arpRequest, frame, neighbourSolicitation, type Payload } from './testing/frames.ts';
import type { TestPod } from './testing/node-site.ts';
import { Rig, type VerdictName } from './testing/rig.ts';

const udp: Payload = { type: 'udp', sport: 4000, dport: 53, data: Uint8Array.of(1, 2, 3) };
const outside4 = Address.parse('198.51.100.7');
const outside6 = Address.parse('2001:db8:ffff::7');

describe('from_pod', () => {
  let rig: Rig;
  let pod: TestPod;
  let other: TestPod;
  const run = (bytes: Uint8Array) => rig.run('from_pod', bytes, { ifindex: pod.hostIfindex });

  before(() => {
    rig = new Rig({ name: 'fp', number: 1 });
    pod = rig.addPod(2);
    other = rig.addPod(3);
  });
  after(() => rig[Symbol.dispose]());

  test('ARP: whatever is asked for, the host side of the veth answers', () => {
    for (const target of [rig.gateway4, other.ipv4, outside4]) {
      const out = run(arpRequest(pod.ipv4, target, pod.mac));
      assert.equal(out.verdict, 'redirect');
      assert.deepEqual(
        out.bytes,
        Uint8Array.from([
          ...Mac.toBytes(pod.mac),
          ...Mac.toBytes(pod.hostMac),
          ...[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], // Ethernet, IPv4, reply
          ...Mac.toBytes(pod.hostMac),
          ...Address.toBytes(target),
          ...Mac.toBytes(pod.mac),
          ...Address.toBytes(pod.ipv4),
        ]),
      );
    }
  });

  test('ARP: probes and announcements are for nobody', () => {
    for (const sender of [Address.parse('0.0.0.0'), pod.ipv4]) {
      const out = run(arpRequest(sender, pod.ipv4));
      assert.equal(out.verdict, 'drop');
      assert.deepEqual(out.counted, ['neighbour-quiet']);
      assert.deepEqual(out.events, []);
    }
  });

  test('NDP: a solicitation from any of the pod’s addresses is answered', () => {
    for (const source of [pod.ipv6, Mac.linkLocal(pod.mac)]) {
      const { verdict, frame: answer } = run(neighbourSolicitation(source, rig.gateway6));
      assert.equal(verdict, 'redirect');
      assert.equal(answer.icmpType, 136);
      assert.equal(answer.l4Checksum, true);
      assert.equal(answer.ttl, 255);
      assert.equal(answer.source, rig.gateway6);
      assert.equal(answer.destination, source);
      assert.equal(answer.sourceMac, pod.hostMac);
      assert.deepEqual([...answer.payload.subarray(0, 16)], [...Address.toBytes(rig.gateway6)]);
      assert.deepEqual(
        [...answer.payload.subarray(16)],
        [2, 1, ...Mac.toBytes(pod.hostMac)],
        'target link-layer address',
      );
    }
  });

  test('NDP: duplicate address detection, router solicitations and listener reports end quietly', () => {
    const unspecified = Address.parse('::');
    const quiet = [
      neighbourSolicitation(unspecified, pod.ipv6),
      ...[133, 134, 136, 137, 131, 143].map((icmpType) =>
        frame({
          source: Mac.linkLocal(pod.mac),
          destination: Address.parse('ff02::2'),
          ttl: 255,
          payload: { type: 'icmp', icmpType, body: new Uint8Array(16) },
        }),
      ),
    ];
    for (const bytes of quiet) {
      const out = run(bytes);
      assert.deepEqual([out.verdict, out.counted, out.events], ['drop', ['neighbour-quiet'], []]);
    }
    assert.deepEqual(run(neighbourSolicitation(pod.ipv6, rig.gateway6, 64)).counted, ['malformed']);
  });

  test('the gateway answers ping in both families', () => {
    for (const [source, gateway] of [
      [pod.ipv4, rig.gateway4],
      [pod.ipv6, rig.gateway6],
    ] as const) {
      const out = run(frame({ source, destination: gateway, payload: { type: 'echo', id: 77 } }));
      assert.equal(out.verdict, 'redirect');
      assert.deepEqual(out.counted, ['answered']);
      const { frame: answer } = out;
      assert.deepEqual(
        [answer.source, answer.destination, answer.id, answer.icmpType],
        [gateway, source, 77, Address.isIPv6(source) ? 129 : 0],
      );
      assert.deepEqual([answer.ipChecksum, answer.l4Checksum], [true, true]);
      assert.equal(answer.destinationMac, pod.mac);
    }
  });

  const table: readonly (readonly [string, () => Uint8Array, VerdictName, readonly string[]])[] = [
    [
      'to another pod',
      () => frame({ source: pod.ipv4, destination: other.ipv4, payload: udp }),
      'redirect',
      ['policy-unenforced', 'to-pod'],
    ],
    [
      'to another pod, IPv6',
      () => frame({ source: pod.ipv6, destination: other.ipv6, payload: udp }),
      'redirect',
      ['policy-unenforced', 'to-pod'],
    ],
    [
      'to the node',
      () => frame({ source: pod.ipv4, destination: rig.gateway4, payload: udp }),
      'redirect',
      ['policy-unenforced', 'to-host'],
    ],
    [
      'to the node, IPv6',
      () => frame({ source: pod.ipv6, destination: rig.gateway6, payload: udp }),
      'redirect',
      ['policy-unenforced', 'to-host'],
    ],
    [
      'where no route leads',
      () => frame({ source: pod.ipv4, destination: outside4, payload: udp }),
      'pass',
      ['policy-unenforced', 'to-stack'],
    ],
    [
      'where no route leads, IPv6',
      () => frame({ source: pod.ipv6, destination: outside6, payload: udp }),
      'pass',
      ['policy-unenforced', 'to-stack'],
    ],
    [
      'with the address of another pod',
      () => frame({ source: other.ipv4, destination: pod.ipv4, payload: udp }),
      'drop',
      ['spoofed-source'],
    ],
    [
      'with the address of another pod, IPv6',
      () => frame({ source: other.ipv6, destination: pod.ipv6, payload: udp }),
      'drop',
      ['spoofed-source'],
    ],
    [
      'with the address of the node',
      () => frame({ source: rig.gateway4, destination: other.ipv4, payload: udp }),
      'drop',
      ['spoofed-source'],
    ],
    [
      'with an address of nobody',
      () => frame({ source: outside4, destination: other.ipv4, payload: udp }),
      'drop',
      ['spoofed-source'],
    ],
    [
      'from a link-local address',
      () => frame({ source: Mac.linkLocal(pod.mac), destination: other.ipv6, payload: udp }),
      'drop',
      ['link-local'],
    ],
    [
      'to a group',
      () => frame({ source: pod.ipv4, destination: Address.parse('224.0.0.251'), payload: udp }),
      'drop',
      ['multicast'],
    ],
    [
      'to everybody',
      () =>
        frame({ source: pod.ipv4, destination: Address.parse('255.255.255.255'), payload: udp }),
      'drop',
      ['multicast'],
    ],
    [
      'to a group, IPv6',
      () => frame({ source: pod.ipv6, destination: Address.parse('ff02::fb'), payload: udp }),
      'drop',
      ['multicast'],
    ],
    [
      'IPv4 options',
      () =>
        frame({
          source: pod.ipv4,
          destination: other.ipv4,
          payload: { ...udp, sport: 4001 },
          ipv4Options: 8,
        }),
      'redirect',
      ['policy-unenforced', 'to-pod'],
    ],
    [
      'extension headers',
      () =>
        frame({
          source: pod.ipv6,
          destination: other.ipv6,
          payload: { ...udp, sport: 4001 },
          extensions: [0, 60, 43],
        }),
      'redirect',
      ['policy-unenforced', 'to-pod'],
    ],
    [
      'an atomic fragment',
      () =>
        frame({
          source: pod.ipv6,
          destination: other.ipv6,
          payload: { ...udp, sport: 4002 },
          extensions: [44],
        }),
      'redirect',
      ['policy-unenforced', 'to-pod'],
    ],
    [
      'too many extension headers',
      () =>
        frame({
          source: pod.ipv6,
          destination: other.ipv6,
          payload: udp,
          extensions: [0, 60, 60, 60, 60, 60, 60],
        }),
      'drop',
      ['extension-headers'],
    ],
    [
      'SCTP by its ports',
      () =>
        frame({
          source: pod.ipv4,
          destination: other.ipv4,
          payload: { type: 'raw', protocol: 132, data: new Uint8Array(24).fill(7) },
        }),
      'redirect',
      ['policy-unenforced', 'to-pod'],
    ],
    [
      'a protocol without ports',
      () =>
        frame({
          source: pod.ipv4,
          destination: other.ipv4,
          payload: { type: 'raw', protocol: 47, data: new Uint8Array(8) },
        }),
      'redirect',
      ['policy-unenforced', 'to-pod'],
    ],
    [
      'a TCP header cut short',
      () =>
        frame({
          source: pod.ipv4,
          destination: other.ipv4,
          payload: { type: 'raw', protocol: 6, data: new Uint8Array(12) },
        }),
      'drop',
      ['malformed'],
    ],
    [
      'a UDP header cut short',
      () =>
        frame({
          source: pod.ipv6,
          destination: other.ipv6,
          payload: { type: 'raw', protocol: 17, data: new Uint8Array(4) },
        }),
      'drop',
      ['malformed'],
    ],
    [
      'IPv4-mapped addresses on the wire',
      () => {
        const bytes = frame({ source: pod.ipv6, destination: other.ipv6, payload: udp });
        bytes.set(Address.toBytes16(pod.ipv4), 22);
        return bytes;
      },
      'drop',
      ['malformed'],
    ],
    [
      'a length beyond the frame',
      () => {
        const bytes = frame({ source: pod.ipv4, destination: other.ipv4, payload: udp });
        bytes[16] = 9;
        return bytes;
      },
      'drop',
      ['malformed'],
    ],
    [
      'neither IP nor ARP',
      () => Uint8Array.from([...new Uint8Array(12), 0x88, 0xcc, ...new Uint8Array(46)]),
      'drop',
      ['unsupported-protocol'],
    ],
  ];
  for (const [name, build, verdict, counted] of table) {
    test(`a packet ${name}`, () => {
      const out = run(build());
      assert.equal(out.verdict, verdict);
      assert.deepEqual(out.counted, counted);
      if (verdict === 'drop') {
        const [event] = out.events;
        assert.deepEqual(
          [event?.type, event?.reason.name, event?.hook],
          ['drop', counted[0], 'from_pod'],
        );
      }
    });
  }

  test('a delivered frame has the MAC addresses of the last hop and one hop less', () => {
    for (const [source, destination] of [
      [pod.ipv4, other.ipv4],
      [pod.ipv6, other.ipv6],
    ] as const) {
      const { frame: out, bytes } = run(frame({ source, destination, ttl: 17, payload: udp }));
      assert.deepEqual(
        [out.ttl, out.ipChecksum, out.l4Checksum, out.sourceMac, out.destinationMac],
        [16, true, true, other.hostMac, other.mac],
      );
      assert.equal(bytes.length, frame({ source, destination, payload: udp }).length);
    }
  });

  test('hops that ran out are reported by the gateway, quoting the packet', () => {
    for (const [source, destination, gateway, type] of [
      [pod.ipv4, other.ipv4, rig.gateway4, 11],
      [pod.ipv6, other.ipv6, rig.gateway6, 3],
    ] as const) {
      const out = run(frame({ source, destination, ttl: 1, payload: udp }));
      assert.equal(out.verdict, 'redirect');
      const { frame: error } = out;
      assert.deepEqual(
        [error.source, error.destination, error.icmpType, error.l4Checksum, error.ipChecksum],
        [gateway, source, type, true, true],
      );
      assert.deepEqual(
        [error.quoted?.source, error.quoted?.destination, error.quoted?.dport],
        [source, destination, 53],
      );
    }
  });

  test('no error answers an error', () => {
    const quoted = frame({ source: other.ipv4, destination: pod.ipv4, payload: udp }).slice(14, 42);
    const out = run(
      frame({
        source: pod.ipv4,
        destination: other.ipv4,
        ttl: 1,
        payload: { type: 'icmp', icmpType: 3, code: 3, body: quoted },
      }),
    );
    assert.equal(out.verdict, 'drop');
    assert.ok(out.counted.includes('ttl-exceeded'));
  });

  test('sockets of the infrastructure are out of reach, their neighbours are not', () => {
    const { datapath } = rig;
    const node = Address.parse('192.0.2.1');
    datapath.putNodeAddress(node, { isProtected: true });
    datapath.protectedSockets.replace([{ address: node, port: 2379, protocol: 6 }]);
    const to = (dport: number) =>
      run(
        frame({
          source: pod.ipv4,
          destination: node,
          payload: { type: 'tcp', sport: 5000, dport, flags: 'S' },
        }),
      );
    assert.deepEqual([to(2379).verdict, to(2379).counted], ['drop', ['protected']]);
    assert.equal(to(2380).verdict, 'redirect');
    // A connection that is there when the protection comes ends with it.
    datapath.protectedSockets.replace([{ address: node, port: 2380, protocol: 6 }]);
    assert.deepEqual(to(2380).counted, ['protected']);
    assert.equal(to(2379).verdict, 'redirect');
    datapath.protectedSockets.replace([]);
    datapath.deleteNodeAddress(node);
  });

  test('what is too big for the way out is answered with its size', () => {
    using rt = RtSocket.open(rig.ns);
    rt.apply(
      request.createVeth({
        name: 'narrow',
        mtu: 1300,
        up: true,
        peer: { name: 'narrow2', up: true },
      }),
    );
    const { index } = rt.link({ name: 'narrow' })!;
    rt.apply([
      request.addAddress({
        ifindex: index,
        address: Uint8Array.of(203, 0, 113, 1),
        prefixLength: 24,
      }),
      request.addAddress({
        ifindex: index,
        address: Address.toBytes(Address.parse('2001:db8:9::1')),
        prefixLength: 64,
        noDad: true,
      }),
    ]);
    const data = new Uint8Array(1350);
    for (const [source, to, gateway, type] of [
      [pod.ipv4, '203.0.113.9', rig.gateway4, 3],
      [pod.ipv6, '2001:db8:9::9', rig.gateway6, 2],
    ] as const) {
      const destination = Address.parse(to);
      const out = run(
        frame({ source, destination, dontFragment: true, payload: { ...udp, data } }),
      );
      assert.equal(out.verdict, 'redirect', to);
      const { frame: error } = out;
      assert.deepEqual(
        [error.source, error.destination, error.icmpType, error.mtu, error.l4Checksum],
        [gateway, source, type, 1300, true],
      );
      assert.equal(error.quoted?.destination, destination);
      assert.ok(out.counted.includes('too-big'));
      const fits = run(
        frame({
          source,
          destination,
          dontFragment: true,
          payload: { ...udp, data: data.subarray(0, 1200) },
        }),
      );
      assert.deepEqual([fits.verdict, fits.counted], ['redirect', ['native']]);
      assert.equal(fits.frame.ttl, 63);
    }
    // Without "don't fragment" the stack cuts it up.
    const cut = run(
      frame({
        source: pod.ipv4,
        destination: Address.parse('203.0.113.9'),
        payload: { ...udp, data },
      }),
    );
    assert.equal(cut.verdict, 'pass');
  });

  test('later fragments go the way of the first', () => {
    const data = new Uint8Array(100);
    for (const [source, destination] of [
      [pod.ipv4, other.ipv4],
      [pod.ipv6, other.ipv6],
    ] as const) {
      const payload: Payload = { type: 'udp', sport: 6000, dport: 7000, data };
      const part = (id: number, offset: number, more: boolean) =>
        run(frame({ source, destination, payload, fragment: { id, offset, more, length: 56 } }));
      assert.deepEqual(part(9, 56, false).counted, ['fragment-unknown']);
      assert.equal(part(10, 0, true).verdict, 'redirect');
      assert.equal(part(10, 56, false).verdict, 'redirect');
      assert.deepEqual(part(11, 56, false).counted, ['fragment-unknown'], 'of another packet');
    }
  });
});
