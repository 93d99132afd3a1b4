import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { FakeAgent, refuse } from '../testing/fake-agent.ts';
import { readDeletions, recordDeletion } from './deletions.ts';
import { CniCode } from './errors.ts';
import { execute, type Surroundings } from './execute.ts';
import { Unreachable } from './transport.ts';

const run = fs.mkdtempSync(path.join(os.tmpdir(), `causeway-cni-${process.pid}-`));
after(() => fs.rmSync(run, { recursive: true, force: true }));
const agentSocket = path.join(run, 'agent.sock');
const deletions = path.join(run, 'deletions');

/** A machine in virtual time. `up` false: nobody answers. */
function machine(agent: FakeAgent) {
  const state = { up: true, now: 0, slept: [] as number[] };
  const surroundings: Surroundings = {
    transport: (socket) => async (method, where, body) => {
      if (!state.up) throw new Unreachable(socket, 'ECONNREFUSED');
      return agent.transport(method, where, body);
    },
    netnsIdentity: (name) => (name.startsWith('/run/netns/') ? name : undefined),
    nodeNetns: '/run/netns/node',
    clock: {
      now: () => state.now,
      sleep: async (ms) => {
        state.slept.push(ms);
        state.now += ms;
      },
      wall: () => new Date(0),
    },
  };
  return Object.assign(state, { surroundings });
}

const pod = { CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: '/run/netns/c1' };
const config = (more: object = {}) =>
  JSON.stringify({ cniVersion: '1.1.0', name: 'pods', type: 'causeway-cni', agentSocket, ...more });

async function call(
  agent: FakeAgent | ReturnType<typeof machine>,
  command: string,
  more: object = {},
  env: Record<string, string> = pod,
) {
  const on = agent instanceof FakeAgent ? machine(agent) : agent;
  const outcome = await execute(
    { environment: { CNI_COMMAND: command, ...env }, config: config(more) },
    on.surroundings,
  );
  const answer = outcome.stdout === '' ? undefined : JSON.parse(outcome.stdout);
  assert.equal(outcome.exitCode === 0, answer?.code === undefined, outcome.stdout);
  return answer;
}

test('ADD gives a dual-stack result in each version', async () => {
  for (const [cniVersion, mtu, version] of [
    ['0.3.1', false, true],
    ['0.4.0', false, true],
    ['1.0.0', false, false],
    ['1.1.0', true, false],
  ] as const) {
    const result = await call(new FakeAgent(), 'ADD', { cniVersion });
    const size = mtu ? { mtu: 1450 } : {};
    assert.deepEqual(result, {
      cniVersion,
      interfaces: [
        { name: 'cw0000000001', mac: '02:00:00:00:00:02', ...size },
        { name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/run/netns/c1', ...size },
      ],
      ips: [
        {
          ...(version && { version: '4' }),
          address: '10.7.0.1/32',
          gateway: '10.7.255.1',
          interface: 1,
        },
        {
          ...(version && { version: '6' }),
          address: 'fd07::1/128',
          gateway: 'fd07::ffff',
          interface: 1,
        },
      ],
      routes: [
        { dst: '0.0.0.0/0', gw: '10.7.255.1' },
        { dst: '::/0', gw: 'fd07::ffff' },
      ],
    });
  }
});

test('ADD of one family, with MTU, pod and DNS', async () => {
  const agent = new FakeAgent();
  agent.families = ['ipv6'];
  const env = { ...pod, CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=db-0;X=y' };
  const dns = { nameservers: ['fd00::53'] };
  const result = await call(agent, 'ADD', { mtu: 1400, dns }, env);
  assert.deepEqual(
    result.ips.map((ip: { address: string }) => ip.address),
    ['fd07::1/128'],
  );
  assert.deepEqual(result.dns, dns);
  assert.deepEqual(agent.requests[0]?.body, {
    containerId: 'c1',
    ifname: 'eth0',
    netns: '/run/netns/c1',
    podNamespace: 'shop',
    podName: 'db-0',
    cniVersion: '1.1.0',
    mtu: 1400,
  });
});

test('the namespace goes to the agent by its handle, into the result by its name', async () => {
  const agent = new FakeAgent();
  const on = machine(agent);
  const outcome = await execute(
    {
      environment: { CNI_COMMAND: 'ADD', ...pod },
      config: config(),
      netnsHandle: '/run/netns/handle',
    },
    on.surroundings,
  );
  assert.equal([...agent.rows.values()][0]?.netns, '/run/netns/handle');
  assert.equal(JSON.parse(outcome.stdout).interfaces[1].sandbox, '/run/netns/c1');
});

test('ADD after another interface appends to its result', async () => {
  const prevResult = {
    cniVersion: '0.4.0',
    interfaces: [{ name: 'lo', mac: '00:00:00:00:00:00', sandbox: '/run/netns/c1' }],
    ips: [{ version: '4', address: '127.0.0.1/8', interface: 0 }],
    vendor: { kept: true },
  };
  const result = await call(new FakeAgent(), 'ADD', { cniVersion: '0.4.0', prevResult });
  assert.deepEqual(
    result.interfaces.map((one: { name: string }) => one.name),
    ['lo', 'cw0000000001', 'eth0'],
  );
  assert.deepEqual(
    result.ips.map((ip: { interface: number }) => ip.interface),
    [0, 2, 2],
  );
  assert.deepEqual(result.vendor, { kept: true });
});

const ofPtp = {
  cniVersion: '1.0.0',
  interfaces: [
    { name: 'cni0', mac: '02:00:00:00:00:07' },
    { name: 'veth1', mac: '02:00:00:00:00:08' },
    { name: 'eth0', mac: '02:00:00:00:00:09', sandbox: '/run/netns/c1' },
  ],
  ips: [
    { interface: 2, address: '10.9.0.5/24', gateway: '10.9.0.1' },
    { interface: 2, address: 'fd09::5/64', gateway: 'fd09::1' },
  ],
  dns: {},
};

test('chained: the interface of another plugin is adopted and its result handed on', async () => {
  const agent = new FakeAgent();
  const more = { cniVersion: '1.0.0', chained: true, prevResult: ofPtp };
  const result = await call(agent, 'ADD', more);
  assert.deepEqual(result, { ...ofPtp, routes: [] });
  assert.deepEqual((agent.requests[0]!.body as { chained: unknown }).chained, {
    hostIfname: 'veth1',
    addresses: { ipv4: '10.9.0.5', ipv6: 'fd09::5' },
  });
  assert.equal(await call(agent, 'CHECK', more), undefined);
  assert.equal(await call(agent, 'DEL', more), undefined);
  assert.equal(agent.rows.size, 0);
});

test('chained without an interface to adopt, and an interface without chained, are refused', async () => {
  const agent = new FakeAgent();
  assert.equal((await call(agent, 'ADD', { chained: true })).code, CniCode.invalidConfig);
  const alone = { chained: true, prevResult: { interfaces: [ofPtp.interfaces[2]] } };
  assert.equal((await call(agent, 'ADD', alone)).code, CniCode.invalidConfig);
  assert.equal((await call(agent, 'ADD', { prevResult: ofPtp })).code, CniCode.interfaceExists);
  assert.equal(agent.requests.length, 0);
});

test('CHECK compares with prevResult and passes the refusals of the agent on', async () => {
  const agent = new FakeAgent();
  const prevResult = await call(agent, 'ADD');
  assert.equal(await call(agent, 'CHECK', { prevResult }), undefined);
  assert.equal((await call(agent, 'CHECK')).code, CniCode.invalidConfig);
  const other = structuredClone(prevResult);
  other.ips[1].address = 'fd07::9/128';
  assert.equal((await call(agent, 'CHECK', { prevResult: other })).code, CniCode.checkFailed);
  agent.rows.clear();
  const error = await call(agent, 'CHECK', { prevResult });
  assert.equal(error.code, CniCode.checkFailed);
  assert.match(error.details, /check-failed/);
});

test('commands that a version does not have are refused with code 1', async () => {
  const agent = new FakeAgent();
  for (const [command, cniVersion] of [
    ['CHECK', '0.3.1'],
    ['GC', '1.0.0'],
    ['STATUS', '1.0.0'],
    ['ADD', '0.2.0'],
    ['ADD', '1.2.0'],
    ['DEL', undefined],
  ] as const) {
    const error = await call(agent, command, { cniVersion });
    assert.equal(error.code, CniCode.incompatibleVersion, `${command} ${cniVersion}`);
  }
  assert.equal(agent.requests.length, 0);
});

test('VERSION answers also to nonsense', async () => {
  const around = machine(new FakeAgent()).surroundings;
  for (const [text, cniVersion] of [
    ['{"cniVersion":"0.4.0"}', '0.4.0'],
    ['', '1.1.0'],
    ['[]', '1.1.0'],
  ] as const) {
    const outcome = await execute(
      { environment: { CNI_COMMAND: 'VERSION' }, config: text },
      around,
    );
    assert.equal(outcome.exitCode, 0);
    assert.deepEqual(JSON.parse(outcome.stdout), {
      cniVersion,
      supportedVersions: ['0.3.1', '0.4.0', '1.0.0', '1.1.0'],
    });
  }
});

test('DEL is idempotent and needs no namespace', async () => {
  const agent = new FakeAgent();
  await call(agent, 'ADD');
  const env = { CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0' };
  for (let i = 0; i < 3; i += 1) assert.equal(await call(agent, 'DEL', {}, env), undefined);
  assert.equal(agent.rows.size, 0);
});

test('DEL goes through with a configuration that ADD would refuse', async () => {
  const agent = new FakeAgent();
  await call(agent, 'ADD');
  const broken = { name: '../x', mtu: 'big', prevResult: 7, chained: 'perhaps' };
  assert.equal((await call(agent, 'ADD', broken)).code, CniCode.invalidConfig);
  assert.equal(await call(agent, 'DEL', broken), undefined);
  assert.equal(agent.rows.size, 0);
  // Without knowing which agent to ask there is nothing to go through.
  assert.equal((await call(agent, 'DEL', { agentSocket: 7 })).code, CniCode.invalidConfig);
});

test('DEL without an agent leaves a request, and a later DEL or ADD clears it', async () => {
  const agent = new FakeAgent();
  const on = machine(agent);
  await call(on, 'ADD');
  on.up = false;
  for (let i = 0; i < 2; i += 1) assert.equal(await call(on, 'DEL'), undefined);
  assert.deepEqual(readDeletions(deletions), {
    deletions: [
      {
        containerId: 'c1',
        ifname: 'eth0',
        netns: '/run/netns/c1',
        requestedAt: '1970-01-01T00:00:00.000Z',
      },
    ],
    unreadable: [],
  });
  assert.equal(fs.statSync(path.join(deletions, 'c1@eth0.json')).mode & 0o777, 0o600);
  on.up = true;
  // The endpoint of the earlier life is still there: ADD must not be answered with it.
  const result = await call(on, 'ADD');
  assert.equal(result.ips[0].address, '10.7.0.2/32');
  assert.deepEqual(readDeletions(deletions).deletions, []);
  on.up = false;
  await call(on, 'DEL');
  on.up = true;
  await call(on, 'DEL');
  assert.deepEqual(fs.readdirSync(deletions), []);
});

test('ADD waits for an agent that is starting, and no longer than it is told', async () => {
  const agent = new FakeAgent();
  agent.notReady = 3;
  const on = machine(agent);
  assert.equal((await call(on, 'ADD')).ips.length, 2);
  assert.deepEqual(on.slept, [20, 20, 20]);
  const down = machine(agent);
  down.up = false;
  const error = await call(down, 'ADD', { agentWaitSeconds: 2 });
  assert.equal(error.code, CniCode.tryAgainLater);
  assert.ok(down.now > 1_000 && down.now <= 2_000, `${down.now} ms`);
  const at = down.now;
  assert.equal((await call(down, 'ADD', { agentWaitSeconds: 0 })).code, CniCode.tryAgainLater);
  assert.equal(down.now, at);
});

test('STATUS: 0 when ready, 50 with the reasons when not or when nobody answers', async () => {
  const agent = new FakeAgent();
  const on = machine(agent);
  assert.equal(await call(on, 'STATUS', {}, {}), undefined);
  agent.cni = { ready: false, reasons: ['no ipv6 address is free'] };
  const error = await call(on, 'STATUS', {}, {});
  assert.deepEqual([error.code, error.details], [50, 'no ipv6 address is free']);
  on.up = false;
  assert.equal((await call(on, 'STATUS', {}, {})).code, CniCode.notAvailable);
});

test('GC keeps the valid attachments and never takes a missing list for an empty one', async () => {
  const agent = new FakeAgent();
  await call(agent, 'ADD');
  await call(agent, 'ADD', {}, { ...pod, CNI_CONTAINERID: 'c2' });
  const valid = [{ containerID: 'c2', ifname: 'eth0' }];
  assert.equal((await call(agent, 'GC', {}, {})).code, CniCode.invalidConfig);
  assert.equal(agent.rows.size, 2);
  assert.equal(await call(agent, 'GC', { 'cni.dev/valid-attachments': valid }, {}), undefined);
  assert.deepEqual([...agent.rows.keys()], ['c2/eth0']);
  const bad = [{ containerID: '../c2', ifname: 'eth0' }];
  const error = await call(agent, 'GC', { 'cni.dev/valid-attachments': bad }, {});
  assert.match(error.msg, /valid-attachments\[0\]\.containerID/);
  assert.equal(await call(agent, 'GC', { 'cni.dev/valid-attachments': null }, {}), undefined);
  assert.equal(agent.rows.size, 0);
});

test('refusals of the agent become codes of CNI, with field and hint', async () => {
  for (const [status, code, cni] of [
    [400, 'bad-request', CniCode.invalidConfig],
    [422, 'netns-missing', CniCode.unknownContainer],
    [422, 'netns-is-node', CniCode.invalidEnvironment],
    [409, 'interface-exists', CniCode.interfaceExists],
    [503, 'pool-empty', CniCode.tryAgainLater],
    [504, 'timeout', CniCode.tryAgainLater],
    [500, 'kernel-failed', CniCode.agentFailed],
    [500, 'constructor', CniCode.agentFailed],
    [418, '', CniCode.agentFailed],
  ] as const) {
    const agent = new FakeAgent();
    agent.scripted.push(refuse(status, code, 'it will not', 'mtu'));
    const error = await call(agent, 'ADD', { agentWaitSeconds: 0 });
    assert.equal(error.code, cni, code);
    assert.match(error.msg, /it will not \(mtu is nothing\)/);
    assert.match(error.details, /see the tests/);
  }
});

test('an answer that makes no sense is an error, not a result', async () => {
  for (const body of [undefined, null, [], 'x', {}, { mac: 7 }, { ...ofPtp, mtu: '9' }]) {
    const agent = new FakeAgent();
    agent.scripted.push({ status: 201, body });
    assert.equal((await call(agent, 'ADD')).code, CniCode.agentFailed);
  }
});

test('a namespace that is missing, is no namespace or is the node is refused before the agent hears', async () => {
  const agent = new FakeAgent();
  const gone = await call(agent, 'ADD', {}, { ...pod, CNI_NETNS: '/etc/passwd' });
  assert.equal(gone.code, CniCode.unknownContainer);
  const node = await call(agent, 'ADD', {}, { ...pod, CNI_NETNS: '/run/netns/node' });
  assert.equal(node.code, CniCode.invalidEnvironment);
  assert.equal(agent.requests.length, 0);
});

test('any environment and any configuration end in a result or an error of CNI', async () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom('ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'c1', '/run/netns/c1'),
  );
  const names = ['CNI_COMMAND', 'CNI_CONTAINERID', 'CNI_IFNAME', 'CNI_NETNS', 'CNI_ARGS'];
  const environment = fc.dictionary(fc.constantFrom(...names), word);
  const keys = ['cniVersion', 'name', 'mtu', 'prevResult', 'chained', 'dns', 'agentWaitSeconds'];
  const value = fc.oneof(fc.jsonValue(), fc.constantFrom('1.1.0', 'pods', ofPtp, true));
  const text = fc.oneof(
    fc.string(),
    fc
      .dictionary(fc.constantFrom(...keys), value)
      .map((each) => JSON.stringify({ agentSocket, ...each })),
  );
  await fc.assert(
    fc.asyncProperty(environment, text, async (env, stdin) => {
      const outcome = await execute(
        { environment: env, config: stdin },
        machine(new FakeAgent()).surroundings,
      );
      const answer = outcome.stdout === '' ? {} : JSON.parse(outcome.stdout);
      assert.equal(outcome.exitCode === 1, typeof answer.code === 'number' && answer.code > 0);
      assert.doesNotMatch(String(answer.msg), /causeway-cni failed/);
    }),
    { numRuns: 500 },
  );
});

test('deletion requests are bounded, and files that are none are named', () => {
  const directory = path.join(run, 'full');
  const entry = { containerId: 'a', ifname: 'eth0', netns: '', requestedAt: '' };
  recordDeletion(directory, entry);
  for (const [name, text] of [
    ['b@eth0.json', '{"version":1,'],
    ['c@eth0.json', JSON.stringify({ version: 2, ...entry, containerId: 'c' })],
    ['d@eth0.json', JSON.stringify({ version: 1, ...entry })],
    ['e@eth0.json', 'x'.repeat(10_000)],
    ['f@eth0.json', JSON.stringify({ version: 1, ...entry, containerId: '../f' })],
  ] as const) {
    fs.writeFileSync(path.join(directory, name), text);
  }
  fs.symlinkSync('/etc/passwd', path.join(directory, 'g@eth0.json'));
  const { deletions: good, unreadable } = readDeletions(directory);
  assert.deepEqual(good, [entry]);
  assert.equal(unreadable.length, 6);
  for (let i = 0; i < 9_993; i += 1) fs.writeFileSync(path.join(directory, `${i}`), '');
  assert.throws(() => recordDeletion(directory, { ...entry, containerId: 'z' }), {
    code: CniCode.tryAgainLater,
  });
  recordDeletion(directory, entry);
  assert.deepEqual(readDeletions(path.join(run, 'none')), { deletions: [], unreadable: [] });
});
