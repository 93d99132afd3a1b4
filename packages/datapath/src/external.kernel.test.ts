import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Address, Mac, Prefix } from '@causeway/ip';
import { skbContext } from '@causeway/linux';
import { withCalled } from './testing/dsr.ts';
import { type FrameSpec, frame, type Payload, packetOf } from './testing/frames.ts';
import type { TestPod } from './testing/node-site.ts';
import { Rig, VERDICTS } from './testing/rig.ts';
import { putService, type TestService } from './testing/services.ts';

const FAMILIES = ['ipv4', 'ipv6'] as const;
type Family = (typeof FAMILIES)[number];
const vip = { ipv4: Address.parse('198.18.0.10'), ipv6: Address.parse('fd00:18::10') };
const client = { ipv4: Address.parse('203.0.113.7'), ipv6: Address.parse('2001:db8:c::7') };
const elsewhere = { ipv4: Address.parse('10.9.0.2'), ipv6: Address.parse('fd00:9::2') };
const device4 = Address.parse('192.0.2.1');
const device6 = Address.parse('2001:db8::1');
const unspecified = { ipv4: Address.parse('0.0.0.0'), ipv6: Address.parse('::') };
const clientMac = Mac.parse('02:00:00:00:00:01');

describe('services for clients outside', () => {
  let rig: Rig;
  let one: TestPod;
  let two: TestPod;
  let device: number;
  let id = 1;
  let port = 80;
  let sport = 20_000;

  before(() => {
    rig = new Rig({ name: 'ex', number: 1 });
    one = rig.addPod(2);
    two = rig.addPod(3);
    device = rig.options.config.host.ifindex;
    rig.ns.run(() =>
      rig.datapath.setDeviceAddresses({
        ifname: 'cw_host',
        ifindex: device,
        ipv4: device4,
        ipv6: device6,
      }),
    );
    rig.datapath.putNodeAddress(device4);
    rig.datapath.putNodeAddress(device6);
    rig.datapath.setMonitor(['drop', 'verdict']);
  });
  after(() => rig[Symbol.dispose]());

  const arrive = (bytes: Uint8Array) => rig.run('from_network', bytes, { ifindex: device });
  const send = (
    family: Family,
    payload: Payload,
    destination: Address = vip[family],
    more: Partial<FrameSpec> = {},
  ) => arrive(frame({ source: client[family], destination, payload, ...more }));
  const answer = (from: TestPod, family: Family, payload: Payload) =>
    rig.run('from_pod', frame({ source: from[family], destination: client[family], payload }), {
      ifindex: from.hostIfindex,
    });
  /** A service of its own for each test: its port. */
  const serve = (
    family: Family,
    backends: readonly Address[],
    service: Partial<TestService> = {},
  ): { readonly port: number; readonly service: TestService } => {
    const put: TestService = {
      id: id++,
      address: vip[family],
      port: port++,
      algorithm: 'maglev',
      backends: backends.map((address, index) => ({ id: id * 10 + index, address, port: 8080 })),
      external: {},
      ...service,
    };
    putService(rig.datapath, put);
    return { port: put.port, service: put };
  };
  const syn = (dport: number, from = sport++): Payload => ({
    type: 'tcp',
    sport: from,
    dport,
    flags: 'S',
  });

  for (const family of FAMILIES) {
    describe(family, () => {
      test('a backend of this node sees the client, and answers as the virtual address', () => {
        const { port } = serve(family, [one[family]]);
        const from = sport++;
        const sent = send(family, syn(port, from));
        assert.deepEqual(
          [sent.verdict, sent.counted],
          ['redirect', ['policy-unenforced', 'service-selected', 'to-pod']],
        );
        const { frame: out } = sent;
        assert.deepEqual(
          [out.source, out.destination, out.dport, out.ipChecksum, out.l4Checksum],
          [client[family], one[family], 8080, true, true],
        );
        const { frame: back } = answer(one, family, {
          type: 'tcp',
          sport: 8080,
          dport: from,
          flags: 'SA',
        });
        assert.deepEqual(
          [back.source, back.sport, back.destination, back.dport, back.l4Checksum],
          [vip[family], port, client[family], from, true],
        );
      });

      test('every address of the node has a NodePort, and its answers bear the one that was called', () => {
        const { port } = serve(family, [one[family]], {
          address: unspecified[family],
          port: 30_000 + id,
          external: { nodePort: true },
        });
        const gateway = family === 'ipv4' ? rig.gateway4 : rig.gateway6;
        for (const called of [family === 'ipv4' ? device4 : device6, gateway]) {
          const from = sport++;
          const { frame: out } = send(family, syn(port, from), called);
          assert.equal(out.destination, one[family]);
          const back = answer(one, family, { type: 'tcp', sport: 8080, dport: from, flags: 'SA' });
          assert.deepEqual([back.frame.source, back.frame.sport], [called, port]);
        }
        const other = send(family, syn(port), elsewhere[family]);
        assert.deepEqual(other.counted, ['to-stack'], 'another node’s address');
      });

      test('a frame for another’s MAC address, flooded by a switch, is left alone', () => {
        const { port } = serve(family, [one[family]]);
        const flooded = frame({
          source: client[family],
          destination: vip[family],
          payload: syn(port),
        });
        const { returnValue } = rig.ns.run(() =>
          rig.datapath.objects
            .program('from_network')
            .testRun({ data: flooded, context: skbContext({ ifindex: device }) }),
        );
        assert.equal(returnValue, VERDICTS.pass);
      });

      test('a service for clients inside is closed', () => {
        const { port } = serve(family, [one[family]]);
        rig.datapath.services.apply({
          type: 'service-put',
          key: { address: vip[family], port, protocol: 'TCP' },
          row: {
            ...{ serviceId: 900, generation: 1, algorithm: 'maglev', slots: 1, count: 1 },
            ...{ affinitySeconds: 0, external: false, nodePort: false, localExternal: false },
            ...{ localInternal: false, localSlots: 0, sourceRanges: false, forwarding: 'snat' },
          },
        });
        const { verdict, counted } = send(family, syn(port));
        assert.deepEqual([verdict, counted], ['drop', ['not-external']]);
      });

      test('source ranges let in whom they name, and speak for one family', () => {
        const range = Prefix.parse(family === 'ipv4' ? '203.0.113.0/24' : '2001:db8:c::/48');
        const wrong = Prefix.parse(family === 'ipv4' ? '::/0' : '0.0.0.0/0');
        const open = serve(family, [one[family]], { external: { sourceRanges: [wrong, range] } });
        assert.equal(send(family, syn(open.port)).verdict, 'redirect');
        const closed = serve(family, [one[family]], { external: { sourceRanges: [wrong] } });
        const { verdict, counted } = send(family, syn(closed.port));
        assert.deepEqual([verdict, counted], ['drop', ['source-range']]);
        rig.datapath.services.apply({
          type: 'source-range-put',
          serviceId: closed.service.id,
          prefix: range,
        });
        assert.equal(send(family, syn(closed.port)).verdict, 'redirect');
        rig.datapath.services.apply({
          type: 'source-range-delete',
          serviceId: closed.service.id,
          prefix: range,
        });
        assert.deepEqual(send(family, syn(closed.port)).counted, ['source-range']);
      });

      test('policy Local takes clients outside to backends of this node, or says that there is none', () => {
        const backends = [one[family], elsewhere[family]];
        const first = serve(family, backends);
        const local = [first.service.backends[0]!.id];
        putService(rig.datapath, { ...first.service, generation: 2, external: { local } });
        for (let i = 0; i < 20; i++) {
          assert.equal(send(family, syn(first.port)).frame.destination, one[family]);
        }
        putService(rig.datapath, { ...first.service, generation: 3, external: { local: [] } });
        const { verdict, counted } = send(family, syn(first.port));
        assert.deepEqual([verdict, counted], ['drop', ['no-local-backend']]);
      });

      test('no backend: the client hears of it where it came from', () => {
        const { port } = serve(family, []);
        const refused = send(family, syn(port, 31_000));
        assert.deepEqual(
          [refused.verdict, refused.counted],
          ['redirect', ['answered', 'no-backend']],
        );
        const { frame: reset } = refused;
        assert.deepEqual(
          [reset.source, reset.destination, reset.sport, reset.dport, reset.tcp?.flags],
          [vip[family], client[family], port, 31_000, 'RA'],
        );
        assert.deepEqual([reset.destinationMac, reset.l4Checksum], [clientMac, true]);
        serve(family, [], { port, protocol: 'UDP' });
        const { frame: error } = send(family, { type: 'udp', sport: 31_000, dport: port });
        assert.deepEqual(
          [error.destination, error.icmpType, error.l4Checksum, error.quoted?.destination],
          [client[family], family === 'ipv4' ? 3 : 1, true, vip[family]],
        );
      });

      test('a virtual address answers ping, and refuses ports that it does not have', () => {
        serve(family, [one[family]]);
        const { frame: pong, verdict } = send(family, { type: 'echo', id: 5 });
        assert.deepEqual(
          [verdict, pong.source, pong.destination, pong.icmpType, pong.l4Checksum],
          ['redirect', vip[family], client[family], family === 'ipv4' ? 0 : 129, true],
        );
        const none = send(family, syn(9));
        assert.deepEqual(
          [none.counted, none.frame.tcp?.flags],
          [['answered', 'no-such-port'], 'RA'],
        );
        const strange = send(family, syn(9), elsewhere[family]);
        assert.deepEqual([strange.verdict, strange.counted], ['pass', ['to-stack']]);
      });

      test('an address leaves with its last service', () => {
        const address = Address.add(vip[family], 5);
        const { service, port } = serve(family, [one[family]], { address });
        assert.equal(send(family, { type: 'echo', id: 6 }, address).verdict, 'redirect');
        rig.datapath.services.apply({
          type: 'service-delete',
          key: { address, port, protocol: 'TCP' },
          serviceId: service.id,
        });
        assert.deepEqual(send(family, { type: 'echo', id: 6 }, address).counted, ['to-stack']);
      });

      test('affinity keeps a client, and not with a backend that drains', () => {
        const first = serve(family, [one[family], two[family]], { affinitySeconds: 60 });
        const choose = (from?: number) => send(family, syn(first.port, from)).frame.destination;
        const had = choose();
        for (let i = 0; i < 10; i++) assert.equal(choose(), had);
        assert.ok(send(family, syn(first.port)).counted.includes('service-affinity'));
        const from = sport++;
        assert.equal(choose(from), had);
        const ack: Payload = { type: 'tcp', sport: from, dport: first.port, flags: 'A' };
        assert.equal(send(family, ack).frame.destination, had);
        const { backends } = first.service;
        putService(rig.datapath, {
          ...first.service,
          generation: 2,
          backends: backends.map((each) =>
            each.address === had ? { ...each, state: 'terminating' } : each,
          ),
          chosen: backends.filter((each) => each.address !== had).map((each) => each.id),
        });
        assert.equal(send(family, ack).frame.destination, had, 'a connection goes on');
        assert.notEqual(choose(), had, 'a new one does not');
        assert.notEqual(choose(from), had, 'nor one that begins anew with old ports');
      });

      test('the backend’s policy is asked about the client itself', () => {
        const { port } = serve(family, [two[family]]);
        const cidr = Prefix.from(client[family], family === 'ipv4' ? 24 : 64);
        const identity = 16_777_300;
        rig.datapath.ipcache.putAll([
          [
            cidr,
            {
              identity,
              tunnelEndpoint: undefined,
              isProtected: false,
              noMasquerade: false,
              isNode: false,
            },
          ],
        ]);
        rig.putPod(two, { policyId: 77, policyRevision: 9, ingress: 'enforced' });
        const { verdict, counted, events } = send(family, syn(port));
        assert.deepEqual([verdict, counted], ['drop', ['policy-default', 'service-selected']]);
        assert.equal(events.find(({ type }) => type === 'drop')?.sourceIdentity, identity);
        rig.putPod(two);
      });

      test('the last hop, and one’s own address from outside, go no further', () => {
        const { port } = serve(family, [elsewhere[family]]);
        const { frame: error, counted } = send(family, syn(port), vip[family], { ttl: 1 });
        assert.deepEqual(counted, ['answered', 'service-selected', 'ttl-exceeded']);
        assert.deepEqual(
          [error.source, error.destination, error.icmpType, error.quoted?.destination],
          [
            family === 'ipv4' ? device4 : device6,
            client[family],
            family === 'ipv4' ? 11 : 3,
            vip[family],
          ],
        );
        const spoofed = arrive(
          frame({ source: one[family], destination: vip[family], payload: syn(port) }),
        );
        assert.deepEqual(spoofed.counted, ['spoofed-source']);
      });

      test('by DSR the packet that opens says which socket was called; the others do not', () => {
        const { port } = serve(family, [elsewhere[family]], { external: { forwarding: 'dsr' } });
        const from = sport++;
        const opening = send(family, syn(port, from));
        // There is no route in this rig: what the stack gets is what would leave.
        const wanted = frame({
          source: client[family],
          destination: elsewhere[family],
          payload: { type: 'tcp', sport: from, dport: 8080, flags: 'S' },
        });
        assert.deepEqual(
          [...opening.bytes.subarray(14)],
          [...withCalled(wanted, vip[family], port).subarray(14)],
        );
        assert.ok(opening.counted.includes('forward-dsr'));
        const next = send(family, { type: 'tcp', sport: from, dport: port, flags: 'A' });
        assert.deepEqual(
          [next.frame.destination, next.frame.l4Checksum, next.bytes.length],
          [elsewhere[family], true, wanted.length],
        );
      });

      test('the backend’s node takes the option off and answers in that name', () => {
        for (const type of ['tcp', 'udp'] as const) {
          const protocol = type === 'tcp' ? 'TCP' : 'UDP';
          const { port } = serve(family, [one[family]], {
            protocol,
            external: { forwarding: 'dsr' },
          });
          const from = sport++;
          const plain = frame({
            source: client[family],
            destination: one[family],
            payload: {
              type,
              sport: from,
              dport: 8080,
              flags: 'S',
              data: Uint8Array.of(7),
            } as Payload,
          });
          const got = arrive(withCalled(plain, vip[family], port));
          assert.deepEqual(got.counted, ['dsr-accepted', 'policy-unenforced', 'to-pod']);
          assert.deepEqual(
            [...got.bytes.subarray(14)],
            [...dropHop(plain.subarray(14))],
            'as if the client had called the pod',
          );
          const back = answer(one, family, {
            type,
            sport: 8080,
            dport: from,
            flags: 'SA',
          } as Payload);
          assert.deepEqual([back.frame.source, back.frame.sport], [vip[family], port]);
        }
      });

      test('an option that names no service of ours stays, and changes nothing', () => {
        const plain = frame({
          source: client[family],
          destination: one[family],
          payload: { type: 'tcp', sport: sport++, dport: 8080, flags: 'S' },
        });
        const got = arrive(withCalled(plain, Address.parse(client[family]), 443));
        assert.equal(got.bytes.length, plain.length + (family === 'ipv4' ? 8 : 24));
        assert.deepEqual(got.counted, ['policy-unenforced', 'to-pod']);
      });

      test('an error about an answer reaches the backend, also by a node that knows nothing of it', () => {
        const backends = [one[family], two[family]];
        const { port } = serve(family, backends, { protocol: 'UDP' });
        const from = sport++;
        const sent = send(family, { type: 'udp', sport: from, dport: port });
        const pod = sent.frame.destination === one[family] ? one : two;
        const back = answer(pod, family, { type: 'udp', sport: 8080, dport: from });
        const complain = () =>
          send(family, {
            type: 'icmp',
            icmpType: family === 'ipv4' ? 3 : 2,
            code: family === 'ipv4' ? 4 : 0,
            word: 1400,
            body: packetOf(back.bytes, 48),
          });
        const check = (outcome: ReturnType<typeof complain>) => {
          const { verdict, frame: error } = outcome;
          assert.equal(verdict, 'redirect');
          assert.deepEqual(
            [error.destination, error.l4Checksum, error.quoted?.source, error.quoted?.sport],
            [pod[family], true, pod[family], 8080],
          );
        };
        check(complain());
        rig.datapath.map('conntrack').map.clear();
        check(complain());
      });

      test('a backend’s own error names the virtual address', () => {
        const { port } = serve(family, [one[family]], { protocol: 'UDP' });
        const sent = send(family, { type: 'udp', sport: sport++, dport: port });
        const error = answer(one, family, {
          type: 'icmp',
          icmpType: family === 'ipv4' ? 3 : 1,
          code: family === 'ipv4' ? 3 : 4,
          body: packetOf(sent.bytes, 48),
        });
        const { frame: out } = error;
        assert.deepEqual(
          [out.source, out.l4Checksum, out.quoted?.destination, out.quoted?.dport],
          [vip[family], true, vip[family], port],
        );
      });
    });
  }

  test('a connection leaves no trace of a service that goes', () => {
    const { services } = rig.datapath;
    const { service, port } = serve('ipv4', [one.ipv4], {
      external: { sourceRanges: [Prefix.parse('203.0.113.0/24')] },
    });
    services.apply({
      type: 'service-delete',
      key: { address: vip.ipv4, port, protocol: 'TCP' },
      serviceId: service.id,
    });
    services.prune();
    assert.deepEqual(
      [...services.sourceRanges()].filter(({ serviceId }) => serviceId === service.id),
      [],
    );
    assert.ok(![...services.services()].some(({ serviceId }) => serviceId === service.id));
  });

  /** The packet one hop on. */
  function dropHop(packet: Uint8Array): Uint8Array {
    const next = packet.slice();
    if (next[0]! >> 4 === 6) next[7]! -= 1;
    else {
      next[8]! -= 1;
      const view = new DataView(next.buffer);
      const sum = view.getUint16(10) + 0x100;
      view.setUint16(10, (sum & 0xffff) + (sum >> 16));
    }
    return next;
  }
});
