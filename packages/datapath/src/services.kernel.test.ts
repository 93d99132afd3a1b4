import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Address } from '@causeway/ip';
import { frame, type Payload, packetOf } from './testing/frames.ts';
import type { TestPod } from './testing/node-site.ts';
import { Rig } from './testing/rig.ts';
import { putService } from './testing/services.ts';

const FAMILIES = ['ipv4', 'ipv6'] as const;
type Family = (typeof FAMILIES)[number];
const vip = { ipv4: Address.parse('10.96.0.10'), ipv6: Address.parse('fd00:96::10') };
const hairpin = { ipv4: '169.254.42.1', ipv6: 'fd00:ca::1' };

describe('services per packet', () => {
  let rig: Rig;
  let client: TestPod;
  let one: TestPod;
  let two: TestPod;
  let port = 5000;
  let id = 1;

  before(() => {
    rig = new Rig({ name: 'sv', number: 1 });
    client = rig.addPod(2);
    one = rig.addPod(3);
    two = rig.addPod(4);
  });
  after(() => rig[Symbol.dispose]());

  const send = (from: TestPod, family: Family, destination: Address, payload: Payload) =>
    rig.run('from_pod', frame({ source: from[family], destination, payload }), {
      ifindex: from.hostIfindex,
    });
  const both = (family: Family) => [
    { id: 100 + id * 10, address: one[family], port: 8080 },
    { id: 101 + id * 10, address: two[family], port: 8080 },
  ];
  const choices = (family: Family, dport: number, count = 40) => {
    const seen = new Map<string, number>();
    for (let i = 0; i < count; i++) {
      const { frame: out } = send(client, family, vip[family], {
        type: 'tcp',
        sport: port++,
        dport,
        flags: 'S',
      });
      seen.set(out.destination, (seen.get(out.destination) ?? 0) + 1);
    }
    return seen;
  };

  for (const family of FAMILIES) {
    test(`there and back, ${family}`, () => {
      for (const [protocol, type] of [
        ['TCP', 'tcp'],
        ['UDP', 'udp'],
      ] as const) {
        const service = id++;
        putService(rig.datapath, {
          id: service,
          address: vip[family],
          port: 80,
          protocol,
          backends: [{ id: 100 + service * 10, address: one[family], port: 8080 }],
        });
        const sport = port++;
        const first = send(client, family, vip[family], {
          type,
          sport,
          dport: 80,
          flags: 'S',
        } as Payload);
        assert.deepEqual(first.counted, ['policy-unenforced', 'service-selected', 'to-pod']);
        const { frame: out } = first;
        assert.deepEqual(
          [out.source, out.destination, out.sport, out.dport, out.ipChecksum, out.l4Checksum],
          [client[family], one[family], sport, 8080, true, true],
        );
        const again = send(client, family, vip[family], {
          type,
          sport,
          dport: 80,
          data: Uint8Array.of(1),
        });
        assert.deepEqual(again.counted, ['to-pod']);
        const { frame: back } = send(one, family, client[family], {
          type,
          sport: 8080,
          dport: sport,
          flags: 'SA',
        } as Payload);
        assert.deepEqual(
          [back.source, back.sport, back.destination, back.dport, back.ipChecksum, back.l4Checksum],
          [vip[family], 80, client[family], sport, true, true],
        );
      }
    });

    test(`a random choice uses every backend, ${family}`, () => {
      putService(rig.datapath, {
        id: id++,
        address: vip[family],
        port: 81,
        backends: both(family),
      });
      const seen = choices(family, 81);
      assert.deepEqual([...seen.keys()].sort(), [one[family], two[family]].sort());
    });

    test(`Maglev chooses by the connection alone, and keeps a backend's share when another goes, ${family}`, () => {
      const backends = both(family);
      const service = {
        id: id++,
        address: vip[family],
        port: 82,
        backends,
        algorithm: 'maglev' as const,
      };
      putService(rig.datapath, service);
      const ports = Array.from({ length: 60 }, () => port++);
      const choose = () =>
        ports.map(
          (sport) =>
            send(client, family, vip[family], { type: 'tcp', sport, dport: 82, flags: 'S' }).frame
              .destination,
        );
      const before = choose();
      assert.equal(new Set(before).size, 2);
      rig.datapath.map('conntrack').map.clear();
      assert.deepEqual(choose(), before, 'without memory the same');
      rig.datapath.map('conntrack').map.clear();
      putService(rig.datapath, { ...service, generation: 2, chosen: [backends[0]!.id] });
      assert.ok(choose().every((address) => address === one[family]));
    });

    test(`affinity keeps a client with its backend, ${family}`, () => {
      putService(rig.datapath, {
        id: id++,
        address: vip[family],
        port: 83,
        backends: both(family),
        affinitySeconds: 60,
      });
      assert.equal(choices(family, 83).size, 1);
    });

    describe(`no backend, ${family}`, () => {
      const nobody = (payload: Payload, extra: { ipv4Options?: number } = {}) => {
        putService(rig.datapath, {
          id: id++,
          address: vip[family],
          port: 84,
          protocol: payload.type === 'udp' ? 'UDP' : 'TCP',
          backends: [],
        });
        return rig.run(
          'from_pod',
          frame({ source: client[family], destination: vip[family], payload, ...extra }),
          { ifindex: client.hostIfindex },
        );
      };
      const sport = 31_000;
      const data = Uint8Array.of(1, 2, 3);

      // Sequence and acknowledgement numbers of our frames are 1 (RFC 9293, 3.10.7.1 says what comes back).
      const segments = [
        { flags: 'S', wanted: { seq: 0, ack: 2, flags: 'RA' } },
        { flags: 'SA', wanted: { seq: 1, ack: 0, flags: 'R' } },
        { flags: 'A', data, wanted: { seq: 1, ack: 0, flags: 'R' } },
        { flags: 'F', data, wanted: { seq: 0, ack: 5, flags: 'RA' } },
      ];
      for (const { wanted, ...segment } of segments) {
        test(`TCP ${segment.flags}${segment.data ? ' with data' : ''} is reset`, () => {
          const out = nobody({ type: 'tcp', sport, dport: 84, ...segment });
          assert.equal(out.verdict, 'redirect');
          assert.deepEqual(out.counted, ['answered', 'no-backend']);
          const { frame: reset } = out;
          assert.deepEqual(
            [reset.source, reset.destination, reset.sport, reset.dport, reset.tcp],
            [vip[family], client[family], 84, sport, wanted],
          );
          assert.deepEqual([reset.ipChecksum, reset.l4Checksum], [true, true]);
          assert.equal(reset.payload.length, 0);
        });
      }

      test('a RST is not answered', () => {
        const out = nobody({ type: 'tcp', sport, dport: 84, flags: 'R' });
        assert.equal(out.verdict, 'drop');
        assert.deepEqual(out.counted, ['no-backend']);
      });

      test('UDP hears by ICMP that nobody listens', () => {
        const out = nobody({ type: 'udp', sport, dport: 84, data: new Uint8Array(32) });
        assert.equal(out.verdict, 'redirect');
        assert.deepEqual(out.counted, ['answered', 'no-backend']);
        const { frame: error } = out;
        assert.deepEqual(
          [error.source, error.destination, error.icmpType, error.icmpCode, error.l4Checksum],
          [vip[family], client[family], family === 'ipv4' ? 3 : 1, family === 'ipv4' ? 3 : 4, true],
        );
        assert.deepEqual([error.quoted?.destination, error.quoted?.dport], [vip[family], 84]);
      });

      if (family === 'ipv4')
        test('TCP behind IP options hears by ICMP: a RST would not fit in its place', () => {
          const out = nobody({ type: 'tcp', sport, dport: 84, flags: 'S' }, { ipv4Options: 8 });
          assert.deepEqual([out.verdict, out.frame.icmpType], ['redirect', 3]);
        });
    });

    test(`a terminating backend keeps its connections and gets no new ones, ${family}`, () => {
      const backends = both(family);
      const service = { id: id++, address: vip[family], port: 85, backends };
      putService(rig.datapath, service);
      const sport = port++;
      const data: Payload = { type: 'tcp', sport, dport: 85, flags: 'S' };
      const had = send(client, family, vip[family], data).frame.destination;
      const leaving = backends.find((backend) => backend.address === had)!;
      putService(rig.datapath, {
        ...service,
        generation: 2,
        backends: backends.map((each) =>
          each === leaving ? { ...each, state: 'terminating' } : each,
        ),
        chosen: backends.filter((each) => each !== leaving).map((each) => each.id),
      });
      assert.equal(
        send(client, family, vip[family], { ...data, flags: 'A' }).frame.destination,
        had,
        'the old connection',
      );
      assert.ok(!choices(family, 85).has(had));
    });

    test(`a pod reaches itself through its service, ${family}`, () => {
      putService(rig.datapath, {
        id: id++,
        address: vip[family],
        port: 86,
        backends: [{ id: 9000 + id, address: client[family], port: 8086 }],
      });
      const sport = port++;
      const { verdict, frame: out } = send(client, family, vip[family], {
        type: 'tcp',
        sport,
        dport: 86,
        flags: 'S',
      });
      assert.equal(verdict, 'redirect');
      assert.deepEqual(
        [out.source, out.destination, out.sport, out.dport, out.l4Checksum, out.ipChecksum],
        [hairpin[family], client[family], sport, 8086, true, true],
      );
      const { frame: back } = send(client, family, Address.parse(hairpin[family]), {
        type: 'tcp',
        sport: 8086,
        dport: sport,
        flags: 'SA',
      });
      assert.deepEqual(
        [back.source, back.sport, back.destination, back.dport, back.l4Checksum],
        [vip[family], 86, client[family], sport, true],
      );
    });

    test(`errors name the virtual address, in both directions, ${family}`, () => {
      putService(rig.datapath, {
        id: id++,
        address: vip[family],
        port: 87,
        protocol: 'UDP',
        backends: [{ id: 9100 + id, address: one[family], port: 8087 }],
      });
      const sport = port++;
      const sent = send(client, family, vip[family], { type: 'udp', sport, dport: 87 });
      const [icmpType, code] = family === 'ipv4' ? [3, 3] : [1, 4];
      const { frame: error } = send(one, family, client[family], {
        type: 'icmp',
        icmpType,
        code,
        body: packetOf(sent.bytes, 48),
      });
      assert.deepEqual(
        [
          error.source,
          error.l4Checksum,
          error.quoted?.destination,
          error.quoted?.dport,
          error.quoted?.ipChecksum,
        ],
        [vip[family], true, vip[family], 87, true],
      );
      // The client complains of the answer.
      const answer = send(one, family, client[family], { type: 'udp', sport: 8087, dport: sport });
      const { frame: complaint, verdict } = send(client, family, vip[family], {
        type: 'icmp',
        icmpType,
        code,
        body: packetOf(answer.bytes, 48),
      });
      assert.equal(verdict, 'redirect');
      assert.deepEqual(
        [
          complaint.destination,
          complaint.l4Checksum,
          complaint.quoted?.source,
          complaint.quoted?.sport,
        ],
        [one[family], true, one[family], 8087],
      );
    });
  }

  test('what is taken away goes a moment later, or not at all when it comes back', () => {
    const { services } = rig.datapath;
    const backend = {
      type: 'backend-put',
      backendId: 7777,
      address: one.ipv4,
      port: 1,
      protocol: 'TCP',
      state: 'active',
    } as const;
    const there = () => rig.datapath.map('backends').has(7777);
    services.apply(backend);
    services.apply({ type: 'backend-delete', backendId: 7777 });
    assert.ok(there());
    services.apply(backend);
    services.flush();
    assert.ok(there(), 'came back');
    services.apply({ type: 'backend-delete', backendId: 7777 });
    services.flush();
    assert.ok(!there());
  });

  test('slots that no service refers to are pruned', () => {
    const { services } = rig.datapath;
    services.prune();
    services.apply({
      type: 'slots-put',
      serviceId: 999,
      generation: 1,
      table: 'main',
      chunk: 0,
      backendIds: new Uint32Array(64),
      live: false,
    });
    assert.equal(services.prune(), 1);
    assert.ok([...services.services()].length > 10);
  });
});
