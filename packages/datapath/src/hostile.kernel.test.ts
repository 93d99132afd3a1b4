import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Address } from '@causeway/ip';
import { skbContext } from '@causeway/linux';
import fc from 'fast-check';
import { frame, type Payload } from './testing/frames.ts';
import type { TestPod } from './testing/node-site.ts';
import { Rig, VERDICTS } from './testing/rig.ts';
import { putService } from './testing/services.ts';

const PROGRAMS = [
  'from_pod',
  'to_pod',
  'from_host',
  'from_network',
  'to_network',
  'from_overlay',
] as const;
/** Bytes behind the Ethernet header below which the kernel makes no test run. */
const SHORTEST = 40;
const outside = {
  ipv4: Address.parse('203.0.113.7'),
  ipv6: Address.parse('2001:db8:c::7'),
};
const vip = { ipv4: Address.parse('198.18.0.9'), ipv6: Address.parse('fd00:18::9') };
const XDP_VERDICTS = new Set([1, 2, 3, 4]); // XDP_DROP, PASS, TX, REDIRECT
const verdicts = new Set<number>(Object.values(VERDICTS));

describe('hostile frames', () => {
  let rig: Rig;
  let pod: TestPod;
  let other: TestPod;

  before(() => {
    rig = new Rig({
      name: 'ho',
      number: 1,
      datapath: { config: { masquerade: { ipv4: true, ipv6: true } } },
    });
    pod = rig.addPod(2);
    other = rig.addPod(3);
    const ifindex = rig.options.config.host.ifindex;
    rig.ns.run(() =>
      rig.datapath.setDeviceAddresses({
        ifname: 'cw_host',
        ifindex,
        ipv4: rig.ipv4,
        ipv6: rig.ipv6,
      }),
    );
    rig.datapath.setMonitor(['drop', 'verdict', 'trace']);
    putService(rig.datapath, {
      id: 1,
      address: rig.ipv4,
      port: 80,
      backends: [{ id: 1, address: other.ipv4, port: 8080 }],
    });
    const backends = {
      ipv4: [other.ipv4, Address.parse('10.9.0.2')],
      ipv6: [other.ipv6, Address.parse('fd00:9::2')],
    };
    let id = 10;
    for (const family of ['ipv4', 'ipv6'] as const) {
      for (const [protocol, forwarding] of [
        ['TCP', 'dsr'],
        ['UDP', 'snat'],
      ] as const) {
        id += 10;
        putService(rig.datapath, {
          id,
          address: vip[family],
          port: 80,
          protocol,
          algorithm: 'maglev',
          backends: backends[family].map((address, i) => ({ id: id + i, address, port: 8080 })),
          external: { forwarding },
        });
      }
    }
  });
  after(() => rig[Symbol.dispose]());

  function judged(bytes: Uint8Array): void {
    for (const program of PROGRAMS) {
      for (const mark of [0, 0x0c5a0002]) {
        const { returnValue: number } = rig.ns.run(() =>
          rig.datapath.objects
            .program(program)
            .testRun({ data: bytes, context: skbContext({ ifindex: pod.hostIfindex, mark }) }),
        );
        assert.ok(verdicts.has(number), `${program} returned ${number}`);
      }
    }
  }

  /** Runs of XDP have no device; they see what the wire brought. */
  function judgedEarly(bytes: Uint8Array): void {
    const { returnValue } = rig.ns.run(() =>
      rig.datapath.objects.program('xdp_lb').testRun({ data: bytes }),
    );
    assert.ok(XDP_VERDICTS.has(returnValue), `xdp_lb returned ${returnValue}`);
  }

  test('any bytes under any EtherType get a verdict', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(0x0800, 0x86dd, 0x0806, 0x88cc),
        fc.uint8Array({ minLength: SHORTEST, maxLength: 120 }),
        (type, body) => {
          const bytes = Uint8Array.from([...new Uint8Array(12), type >> 8, type & 255, ...body]);
          judged(bytes);
          judgedEarly(bytes);
        },
      ),
      { numRuns: 40 },
    );
  });

  test('a good frame with some bytes changed, or cut anywhere, gets a verdict', () => {
    const inner = frame({
      source: other.ipv4,
      destination: pod.ipv4,
      payload: { type: 'udp', sport: 1, dport: 2 },
    }).slice(14);
    const payloads: Payload[] = [
      { type: 'tcp', sport: 1000, dport: 80, flags: 'S' },
      { type: 'udp', sport: 1000, dport: 80 },
      { type: 'echo', id: 5 },
      { type: 'icmp', icmpType: 3, body: inner },
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...payloads),
        fc.boolean(),
        fc.boolean(),
        fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 3 }),
        fc.nat(80),
        (payload, v6, external, changes, cut) => {
          const family = v6 ? 'ipv6' : 'ipv4';
          const bytes = frame({
            source: external ? outside[family] : pod[family],
            destination: external ? vip[family] : other[family],
            payload,
            ...(v6 && !external && { extensions: [0, 60] }),
          });
          for (const [at, value] of changes) if (at >= 14 && at < bytes.length) bytes[at] = value;
          const left = bytes.subarray(0, Math.max(14 + SHORTEST, bytes.length - cut));
          judged(left);
          judgedEarly(left);
        },
      ),
      { numRuns: 80 },
    );
  });

  test('a flood of new connections turns the oldest out of conntrack and nothing else', () => {
    const { limit } = rig.datapath.map('conntrack');
    for (let i = 0; i < limit * 2; i++) {
      const bytes = frame({
        source: pod.ipv4,
        destination: other.ipv4,
        payload: { type: 'udp', sport: (i % 60_000) + 1, dport: 1 + Math.floor(i / 60_000) },
      });
      const { returnValue } = rig.ns.run(() =>
        rig.datapath.objects
          .program('from_pod')
          .testRun({ data: bytes, context: skbContext({ ifindex: pod.hostIfindex }) }),
      );
      assert.equal(returnValue, VERDICTS.redirect);
    }
    assert.ok(rig.datapath.map('conntrack').map.count() <= limit);
    assert.ok(rig.datapath.enforcement.endpoint(other.ipv4) !== undefined);
  });

  test('events beyond the rate are left out and counted', () => {
    rig.datapath.setMonitor(['drop']);
    rig.datapath.setDropEventRate(5);
    const spoofed = frame({
      source: other.ipv4,
      destination: pod.ipv4,
      payload: { type: 'echo', id: 1 },
    });
    let told = 0;
    const counted = new Set<string>();
    const once = () => {
      const out = rig.run('from_pod', spoofed, { ifindex: pod.hostIfindex });
      told += out.events.length;
      for (const reason of out.counted) counted.add(reason);
    };
    // What the tests before have used of this second's budget comes back with the next.
    for (const end = performance.now() + 3000; told === 0 && performance.now() < end; ) once();
    for (let i = 0; i < 50; i++) once();
    assert.ok(told >= 5 && told <= 15 * 2, `${told} events`);
    assert.ok(counted.has('event-suppressed'));
  });
});
