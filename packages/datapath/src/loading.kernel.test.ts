import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { Address, Mac, Prefix } from '@causeway/ip';
import { BpfMap, Features } from '@causeway/linux';
import { constantsOf, type DatapathConfig, type KernelTraits } from './config.ts';
import type { Datapath } from './datapath.ts';
import { MonitorFlag } from './events.ts';
import type { IpcacheValue } from './ipcache-maps.ts';
import { conntrack, UseFlag } from './maps/conntrack.ts';
import { DEFAULT_OBJECTS, loadObjects, OBJECTS, type ObjectName } from './objects.ts';
import { type DatapathOptions, openDatapath } from './open.ts';

const root = `/sys/fs/bpf/cwdpload${process.pid}`;
const config: DatapathConfig = {
  ipv4: true,
  ipv6: true,
  host: { ifindex: 1, mac: Mac.parse('02:00:00:00:00:01') },
  gateways: { ipv4: Address.parse('10.0.0.1'), ipv6: Address.parse('fd00::1') },
};
const limits = { conntrack: 1024, nat: 1024 };
const options = (over: Partial<DatapathOptions> = {}): DatapathOptions => ({
  bpffsRoot: root,
  config,
  limits,
  ...over,
});
const allTraits: KernelTraits = {
  setRetval: true,
  netnsCookie: true,
  coarseClock: true,
  fibSkipNeighbour: true,
};

describe('loading', () => {
  after(() => rmSync(root, { recursive: true, force: true }));

  // Every setting that removes code from a program, each with what it matters to. The rest are numbers.
  const overlay = { ifindex: 2, mtu: 1450 };
  const masquerade = (ipv4: boolean, ipv6: boolean) => ({ masquerade: { ipv4, ipv6 } });
  const families = [
    { ipv4: true, ipv6: true },
    { ipv4: true, ipv6: false },
    { ipv4: false, ipv6: true },
  ];
  const ways: Partial<DatapathConfig>[] = [{}, { overlay }];
  const natting = [
    masquerade(false, false),
    masquerade(true, false),
    masquerade(false, true),
    masquerade(true, true),
  ];
  const switches: Partial<DatapathConfig>[] = [
    {},
    { packetServices: false, allowLocalhost: false, worldByFamily: true },
  ];
  const kernels: KernelTraits[] = [
    allTraits,
    { setRetval: false, netnsCookie: false, coarseClock: false, fibSkipNeighbour: false },
  ];

  /** Few loads for the big program, all combinations for the small ones. */
  const relevant: Record<ObjectName, readonly (readonly Partial<DatapathConfig>[])[]> = {
    from_pod: [families, ways, [natting[0]!, natting[3]!], switches],
    to_pod: [families, switches],
    from_host: [families, ways, switches],
    from_network: [families, natting, switches],
    to_network: [families, natting],
    from_overlay: [families, ways, switches],
    host_policy: [families],
    external: [families, ways, [natting[0]!, natting[3]!]],
    xdp_lb: [families, ways],
    sock: [[{}]],
  };
  for (const name of Object.keys(OBJECTS) as ObjectName[]) {
    test(`${name} is accepted in every configuration`, () => {
      let combinations: Partial<DatapathConfig>[] = [{}];
      for (const choices of relevant[name]) {
        combinations = combinations.flatMap((base) =>
          choices.map((choice) => ({ ...base, ...choice })),
        );
      }
      // The big program takes the verifier half a second: a quarter of its combinations, in which each
      // value still meets each other one.
      if (name === 'from_pod') {
        combinations = combinations.filter((_, index) => index % 4 === (index >> 2) % 4);
      }
      // These take half of that: a third.
      if (name === 'external' || name === 'from_network') {
        combinations = combinations.filter((_, index) => index % 3 === 0);
      }
      let loaded = 0;
      for (const [index, combination] of combinations.entries()) {
        const tried = name === 'sock' ? kernels : [kernels[index % 2]!];
        for (const traits of tried) {
          using objects = loadObjects({
            objects: DEFAULT_OBJECTS,
            constants: constantsOf({ ...config, ...combination }, traits),
            limits: {
              conntrack: 64,
              nat: 64,
              ipcache: 64,
              backends: 64,
              affinity: 64,
              fragments: 64,
            },
            incompatible: 'refuse',
            only: [name],
          });
          assert.equal(objects.programs.size, OBJECTS[name].length);
          loaded++;
        }
      }
      assert.ok(loaded >= 2 || combinations.length === 1);
    });
  }

  test('maps outlive the process’s hold on them, and are taken up again with what they have', () => {
    const address = Address.parse('192.0.2.9');
    {
      using first = openDatapath(options());
      first.putNodeAddress(address);
      first.bumpEpoch();
    }
    using second = openDatapath(options());
    assert.deepEqual([...second.nodeAddresses()], [{ address, isProtected: false }]);
    assert.equal(second.map('runtime').get(0)?.epoch, 1);
    assert.deepEqual(second.replacedMaps, []);
  });

  test('other limits are refused by name, or answered with new maps where asked', () => {
    openDatapath(options())[Symbol.dispose]();
    const other = { ...limits, conntrack: 2048 };
    assert.throws(() => openDatapath(options({ limits: other })), {
      code: 'map-incompatible',
      message: /conntrack .*maxEntries is 1024, needed 2048/,
    });
    using again = openDatapath(options({ limits: other, incompatibleMaps: 'replace' }));
    assert.deepEqual(again.replacedMaps, ['conntrack']);
    assert.equal(again.map('conntrack').limit, 2048);
    assert.equal([...again.nodeAddresses()].length, 1, 'the others are as they were');
    again[Symbol.dispose]();
    rmSync(root, { recursive: true, force: true });
  });

  test('maps of another layout version are refused, and replaced where asked', () => {
    openDatapath(options())[Symbol.dispose]();
    {
      using map = BpfMap.openPinned(join(root, 'maps', 'runtime'));
      const value = map.get(new Uint8Array(4))!;
      value[12] = 250;
      map.update(new Uint8Array(4), value);
    }
    assert.throws(() => openDatapath(options()), { code: 'map-incompatible', message: /layout/ });
    openDatapath(options({ incompatibleMaps: 'replace' }))[Symbol.dispose]();
    openDatapath(options())[Symbol.dispose]();
  });

  test('nodes that a version without the flag has written are known as before, and it can come back', () => {
    const rows: [Prefix, IpcacheValue][] = [
      ['192.0.2.2', 6, undefined],
      ['2001:db8::7', 7, undefined],
      ['192.0.2.3', 4001, '192.0.2.3'],
      ['10.1.0.5', 4001, '192.0.2.3'],
      ['192.0.2.9', 3005, undefined],
    ].map(([address, identity, tunnel]) => [
      Prefix.host(address as Address),
      {
        identity: identity as number,
        tunnelEndpoint: tunnel as Address | undefined,
        noMasquerade: true,
        isProtected: false,
        isNode: false,
      },
    ]);
    const flow = {
      ...{ addrA: Address.parse('10.1.0.5'), addrB: Address.parse('192.0.2.9') },
      ...{ portA: 4000, portB: 80, protocol: 6, scope: 0 },
    };
    /** Leaves what that version leaves: its own rows, and of the runtime's flags those that it knows. */
    const asFormer = (datapath: Datapath) => {
      const runtime = datapath.map('runtime');
      const row = runtime.get(0)!;
      assert.equal(row.layout, 1, 'it takes maps of its own number only');
      const uses = UseFlag.external | UseFlag.nodePorts | UseFlag.egress;
      const flags = (row.flags & uses) | MonitorFlag.drop | MonitorFlag.audit;
      runtime.set(0, { ...row, flags });
      datapath.ipcache.putAll(rows);
    };
    const nodes = (datapath: Datapath) =>
      rows.map(([prefix]) => datapath.ipcache.get(prefix)?.isNode);
    {
      using datapath = openDatapath(options());
      const empty = conntrack.value.decode(new Uint8Array(conntrack.value.size));
      datapath.map('conntrack').set(flow, empty);
      asFormer(datapath);
    }
    {
      using datapath = openDatapath(options());
      assert.deepEqual(nodes(datapath), [true, true, true, false, false]);
      assert.equal(datapath.ipcache.get(rows[2]![0])?.identity, 4001);
      asFormer(datapath);
    }
    {
      using datapath = openDatapath(options());
      assert.deepEqual(
        nodes(datapath),
        [true, true, true, false, false],
        'after it came back, too',
      );
      datapath.setMonitor([]);
      datapath.ipcache.putAll(rows);
    }
    using datapath = openDatapath(options());
    assert.ok(!nodes(datapath).includes(true), 'nothing is guessed of rows that say it themselves');
    assert.notEqual(datapath.map('conntrack').get(flow), undefined, 'connections stay');
  });

  test('objects that are missing, or differ from the declarations, are refused before anything changes', () => {
    const directory = mkdtempSync(join(tmpdir(), `cwdp${process.pid}-`));
    try {
      assert.throws(() => openDatapath(options({ objects: directory })), {
        code: 'objects-missing',
        message: /from_pod\.o/,
      });
      for (const name of Object.keys(OBJECTS)) {
        copyFileSync(join(DEFAULT_OBJECTS, `${name}.o`), join(directory, `${name}.o`));
      }
      // A member renamed in the object's type information: ifindex of struct endpoint.
      const path = join(directory, 'from_pod.o');
      const bytes = readFileSync(path);
      for (
        let at = bytes.indexOf('\0host_mac\0');
        at >= 0;
        at = bytes.indexOf('\0host_mac\0', at + 1)
      ) {
        bytes.write('\0nost_mac\0', at);
      }
      writeFileSync(path, bytes);
      assert.throws(() => openDatapath(options({ objects: directory })), {
        code: 'layout-mismatch',
        message: /map endpoints, value: .*host_mac is missing/,
      });
      writeFileSync(path, bytes.subarray(0, 1000));
      assert.throws(() => openDatapath(options({ objects: directory })));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('a kernel without what we need is named with the release that has it', () => {
    assert.throws(
      () => openDatapath(options({ features: new Features({ 'redirect-peer': false }) })),
      { code: 'unsupported', message: /5\.10/ },
    );
  });

  test('bad limits of a map are refused', () => {
    assert.throws(
      () => openDatapath(options({ bpffsRoot: `${root}b`, limits: { conntrack: -1 } })),
      {
        code: 'bad-config',
        message: /limits\.conntrack/,
      },
    );
  });
});
