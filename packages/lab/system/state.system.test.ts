import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { BpfMap } from '@causeway/linux';
import { inParallel, nodePaths, nodePrograms } from '../index.ts';
import { attach, type BarePod, barePod, cni, detach } from './bare-pods.ts';
import { apply, eventually, expectNow, expectSoon, sh, statusOf, useLab } from './support.ts';

const CLIENT = 'main/default/client';

const lab = useLab(
  'state',
  `racks:
  - {name: rack, ipv4: 192.168.35.0/24, ipv6: "fd38::/64"}
clusters:
  - name: main
    id: 1
    podCIDRs: {ipv4: 10.35.0.0/16, ipv6: "fd38:1::/48"}
    nodes:
      - {name: n1, rack: rack}
      - {name: n2, rack: rack}
    pods:
      - {name: client, node: n1, labels: {app: client}, serve: [{port: 80, type: http}]}
      - {name: other, node: n1, labels: {app: other}}
      - {name: server, node: n2, labels: {app: server}, serve: [{port: 80, type: http}]}
`,
  async () => {
    await apply(lab(), 'main', {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'client', namespace: 'default' },
      spec: {
        podSelector: { matchLabels: { app: 'client' } },
        ingress: [{ from: [{ podSelector: { matchLabels: { app: 'server' } } }] }],
      },
    });
    await expectSoon(await inForce());
  },
);

async function inForce() {
  const asked = async (from: string, to: string, wanted: 'answered' | 'timeout') =>
    (await lab().addresses(to)).map((address) => ({
      what: `${from} asks ${to} (${address})`,
      wanted,
      attempt: () => lab().traffic.http(from, address, 80, { seconds: 1 }),
    }));
  return [
    ...(await asked(CLIENT, 'main/default/server', 'answered')),
    ...(await asked('main/default/server', CLIENT, 'answered')),
    ...(await asked('main/default/other', CLIENT, 'timeout')),
  ];
}

interface Row {
  readonly id: number;
  readonly containerId: string;
  readonly hostIfname: string;
  readonly state: string;
  readonly addresses: Readonly<Record<string, string>>;
  readonly podName?: string;
}
const endpoints = async (node = 'n1') => (await lab().agent(node).get('/v1/endpoints')) as Row[];
/** Calls of the plugin in a storm; every one starts a program. */
const ENOUGH = 120;
const stateFiles = () => join(nodePaths(lab().name, 'n1').run, 'state/endpoints');

/** The agent ends as in a crash, `meanwhile` happens, and the next one comes up. */
async function crash(meanwhile: () => Promise<unknown> | unknown = () => {}): Promise<void> {
  await lab().agent('n1').kill();
  await meanwhile();
  await lab().agent('n1').start();
  await lab().settled();
}

for (const [what, spoil] of [
  ['cut short', (file: string) => truncateSync(file, readFileSync(file).length >> 1)],
  ['empty', (file: string) => truncateSync(file, 0)],
  [
    'of random bytes',
    (file: string) => writeFileSync(file, Buffer.from('\u0000\u0001{"id"\u00ff')),
  ],
  [
    'of a later version',
    (file: string) =>
      writeFileSync(file, readFileSync(file, 'utf8').replace(/"version":1/, '"version":2')),
  ],
  [
    'of an earlier version',
    (file: string) =>
      writeFileSync(file, readFileSync(file, 'utf8').replace(/"version":1/, '"version":0')),
  ],
] as const) {
  test(`state files ${what}: pods keep addresses, traffic and policy, and the log names the files`, async () => {
    const before = await endpoints();
    assert.equal(before.length, 2);
    const names = readdirSync(stateFiles()).filter((name) => name.endsWith('.json'));
    assert.equal(names.length, 2);
    await crash(() => {
      for (const name of names) spoil(join(stateFiles(), name));
    });
    await expectNow(await inForce());
    const after = await endpoints();
    const seen = (rows: Row[]) =>
      rows
        .map(({ id, addresses, hostIfname, state }) => ({ id, addresses, hostIfname, state }))
        // Restored rows come in the order of the kernel's devices.
        .sort((a, b) => a.id - b.id);
    assert.deepEqual(seen(after), seen(before));
    const log = readFileSync(lab().agent('n1').log, 'utf8');
    for (const name of names) assert.ok(log.includes(name), `the log names ${name}`);
    assert.ok(readdirSync(join(stateFiles(), 'refused')).length > 0, 'they are kept to look at');
    await eventually('labels are known again', async () => {
      const rows = (await endpoints()) as (Row & { identity: number })[];
      return rows.every(({ identity }) => identity >= 256) ? true : undefined;
    });
  });
}

test('pinned maps of another size are replaced, said so, and filled again', async () => {
  const config = nodePrograms(lab().name, 'n1', 'agent').config;
  const text = readFileSync(config, 'utf8');
  try {
    await crash(() =>
      writeFileSync(config, `${text}limits: {conntrack: 4096, policy: 5000, ipcache: 3000}\n`),
    );
    await expectSoon(await inForce());
    assert.match(readFileSync(lab().agent('n1').log, 'utf8'), /maps of another size or version/);
  } finally {
    await crash(() => writeFileSync(config, text));
  }
  await expectSoon(await inForce());
});

test('a pin that is no map of ours keeps no agent from starting', async () => {
  const pin = join(nodePaths(lab().name, 'n1').bpffs, 'causeway/maps/policy');
  await crash(() => {
    rmSync(pin);
    const other = { name: 'other', type: 'hash', keySize: 4, valueSize: 4, maxEntries: 7 } as const;
    const map = BpfMap.create(other);
    map.pin(pin);
    map.fd.close();
  });
  await expectSoon(await inForce());
});

test('a second agent on the node refuses and names the first', async () => {
  const agent = lab().agent('n1');
  const program = join(import.meta.dirname, '../../cli/bin/causeway');
  const { code, stderr, stdout } = await lab().exec(
    'n1',
    [program, 'agent', '--config', nodePrograms(lab().name, 'n1', 'agent').config],
    { timeoutMs: 20_000 },
  );
  assert.notEqual(code, 0);
  assert.match(`${stdout}${stderr}`, new RegExp(`pid ${agent.pid}\\b`));
  assert.equal(await agent.missing(), undefined);
  await expectNow(await inForce());
});

test('a removal while the agent is down is carried out when it is back', async () => {
  const pod = await barePod(lab(), 'n1', 'gone');
  await attach(lab(), pod);
  await crash(async () => {
    const { code, stdout } = await cni(lab(), 'DEL', pod);
    assert.equal(code, 0, stdout);
  });
  assert.equal(
    (await endpoints()).some(({ podName }) => podName === 'gone'),
    false,
  );
  const again = await attach(lab(), pod);
  assert.equal(again.length, 2);
  await detach(lab(), pod);
  await detach(lab(), pod);
});

test('a device that only bears the name or the number of a pod’s is left alone', async () => {
  const pod = await barePod(lab(), 'n1', 'reused');
  const addresses = await attach(lab(), pod);
  const row = (await endpoints()).find(({ podName }) => podName === 'reused')!;
  // The pod goes while nobody looks, and somebody else's device takes its name and, here, its index.
  await crash(async () => {
    const index = (await sh(lab(), 'n1', `cat /sys/class/net/${row.hostIfname}/ifindex`)).trim();
    await sh(
      lab(),
      'n1',
      `ip link delete ${row.hostIfname} && ip link add ${row.hostIfname} index ${index} type veth peer name stolen && ip link set ${row.hostIfname} up`,
    );
  });
  assert.equal(
    (await endpoints()).some(({ podName }) => podName === 'reused'),
    false,
  );
  assert.match(await sh(lab(), 'n1', 'ip -br link'), new RegExp(row.hostIfname), 'it still stands');
  await expectNow(await inForce());
  // Its addresses are free again: nobody answers for them.
  for (const address of addresses)
    assert.notEqual((await lab().traffic.ping(CLIENT, address)).outcome, 'answered');
  await sh(lab(), 'n1', `ip link delete ${row.hostIfname}`);
  await detach(lab(), pod);
});

test('kills at any moment of a storm of ADD and DEL lose no address and give none twice', async () => {
  const agent = lab().agent('n1');
  let state = 7;
  const random = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 8) % below;
  };
  const pods = await Promise.all(
    Array.from({ length: 10 }, (_, i) => barePod(lab(), 'n1', `storm-${i}`)),
  );
  const held = new Map<BarePod, string[]>();
  let steps = 0;
  let failures = 0;
  const end = performance.now() + 120_000;
  let killing = true;
  const killer = (async () => {
    for (let kills = 0; kills < 5; kills++) {
      await new Promise((resolve) => setTimeout(resolve, 300 + random(2500)));
      await agent.kill();
      await agent.start();
    }
    killing = false;
  })();
  // One worker a pod, as one runtime serialises the calls for a container.
  await inParallel(pods, 5, async (pod) => {
    while (performance.now() < end && (killing || steps < ENOUGH)) {
      steps++;
      if (random(2) === 0) {
        const { code, stdout } = await cni(lab(), 'ADD', pod);
        if (code !== 0) {
          failures++;
          JSON.parse(stdout);
          continue;
        }
        const { ips } = JSON.parse(stdout) as { ips: { address: string }[] };
        const mine = ips.map(({ address }) => address.replace(/\/\d+$/, ''));
        for (const [other, theirs] of held)
          if (other !== pod)
            for (const address of mine)
              assert.equal(theirs.includes(address), false, `${address} is given twice`);
        held.set(pod, mine);
      } else {
        // Given back the moment that DEL is asked for: the answer may be lost, the address must not be.
        held.delete(pod);
        await cni(lab(), 'DEL', pod);
      }
    }
  });
  await killer;
  await lab().settled();
  assert.ok(steps >= ENOUGH, `${steps} steps, ${failures} ADDs without an agent`);
  const config = { 'cni.dev/valid-attachments': [] as object[] };
  const keep = (await endpoints()).filter(({ podName }) => !podName?.startsWith('storm-'));
  for (const { containerId } of keep)
    config['cni.dev/valid-attachments'].push({ containerID: containerId, ifname: 'eth0' });
  const gc = await cni(lab(), 'GC', pods[0]!, { config });
  assert.equal(gc.code, 0, gc.stdout);
  assert.deepEqual((await endpoints()).map(({ podName }) => podName).sort(), ['client', 'other']);
  const devices = await sh(lab(), 'n1', 'ip -o link | grep -c ": cw[0-9a-f]\\{10\\}@"');
  assert.equal(devices.trim(), '2', 'no device is left of the storm');
  assert.equal(readdirSync(stateFiles()).filter((name) => name.endsWith('.json')).length, 2);
  const { cni: ready } = await statusOf(lab(), 'n1');
  assert.equal(ready.ready, true);
  await expectNow(await inForce());
});

test('leftovers in the run directory that make no sense are put aside', async () => {
  const { run } = nodePaths(lab().name, 'n1');
  await crash(() => {
    mkdirSync(join(run, 'deletions'), { recursive: true });
    writeFileSync(join(run, 'deletions/garbage'), 'not json');
    writeFileSync(join(run, 'deletions/huge'), 'x'.repeat(1 << 20));
    writeFileSync(join(run, 'deletions/wrong'), '{"containerId":"../../etc","ifname":7}');
    rmSync(join(run, 'agent.sock'));
    writeFileSync(join(run, 'agent.sock'), 'a file where the socket was');
    writeFileSync(join(run, 'agent.lock'), '99999999999999999999');
  });
  assert.equal((await endpoints()).length, 2);
  assert.deepEqual(readdirSync(join(run, 'deletions')), []);
  await expectNow(await inForce());
});
