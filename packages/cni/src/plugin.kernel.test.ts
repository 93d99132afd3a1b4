// The executable itself, against an agent that keeps to the contract: the quick way through the agent, the slow way
// in a Node of its own, and no agent at all.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FakeAgent } from '../testing/fake-agent.ts';
import { must, TestNetns } from '../testing/netns.ts';
import { readDeletions } from './deletions.ts';

const bin = fileURLToPath(new URL('../bin/causeway-cni', import.meta.url));
const run = fs.mkdtempSync(path.join(os.tmpdir(), `cw-${process.pid}-`));
const netns = new TestNetns('pod');
after(() => {
  netns[Symbol.dispose]();
  fs.rmSync(run, { recursive: true, force: true });
});
let sockets = 0;
const nextSocket = () => path.join(run, `${sockets++}`, 'agent.sock');

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function plugin(
  command: string,
  config: string | object,
  env: Record<string, string> = {},
  [file, ...argv]: string[] = [bin],
): Promise<Ran> {
  const child = spawn(file as string, argv, {
    env: {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'c1',
      CNI_IFNAME: 'eth0',
      CNI_NETNS: netns.path,
      CNI_PATH: '/usr/lib/cni',
      ...env,
    },
  });
  const text = { out: '', err: '' };
  child.stdout.on('data', (chunk) => {
    text.out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    text.err += chunk;
  });
  child.stdin.on('error', () => {});
  child.stdin.end(typeof config === 'string' ? config : JSON.stringify(config));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, ...text })));
}

const config = (agentSocket: string, more: object = {}) => ({
  cniVersion: '1.1.0',
  name: 'pods',
  type: 'causeway-cni',
  agentSocket,
  ...more,
});

for (const relay of [true, false]) {
  const how = relay ? 'relayed to the agent' : 'in a Node of its own';

  test(`the life of an attachment, ${how}`, async () => {
    const socket = nextSocket();
    await using agent = await new FakeAgent().listen(socket);
    agent.relay = relay;
    const added = await plugin('ADD', config(socket));
    assert.equal(added.code, 0, added.out + added.err);
    assert.equal(added.err, '');
    const result = JSON.parse(added.out);
    assert.equal(result.interfaces[1].sandbox, netns.path);
    assert.match([...agent.rows.values()][0]?.netns ?? '', /^\/proc\/\d+\/fd\/\d+$/);
    const checked = await plugin('CHECK', config(socket, { prevResult: result }));
    assert.deepEqual(checked, { code: 0, out: '', err: '' });
    const status = await plugin('STATUS', config(socket), { CNI_NETNS: '' });
    assert.deepEqual(status, { code: 0, out: '', err: '' });
    for (let i = 0; i < 2; i += 1) {
      assert.deepEqual(await plugin('DEL', config(socket)), { code: 0, out: '', err: '' });
    }
    assert.equal(agent.rows.size, 0);
  });

  test(`errors are JSON on standard output with exit code 1, ${how}`, async () => {
    const socket = nextSocket();
    await using agent = await new FakeAgent().listen(socket);
    agent.relay = relay;
    for (const [command, text, env, code] of [
      ['ADD', config(socket, { mtu: 'big' }), {}, 7],
      ['ADD', JSON.stringify(config(socket)).slice(0, -1), {}, 6],
      ['ADD', config(socket, { cniVersion: '9.9.9' }), {}, 1],
      ['ADD', config(socket), { CNI_NETNS: '/run/netns/none' }, 3],
      ['ADD', config(socket), { CNI_NETNS: '/proc/self/ns/net' }, 4],
      ['ADD', config(socket), { CNI_ARGS: 'A=b\nCNI_CONTAINERID=evil' }, 4],
      ['ADD', config(socket), { CNI_CONTAINERID: '$(touch x)' }, 4],
      ['NONE', config(socket), {}, 4],
    ] as const) {
      const ran = await plugin(command, text, env);
      assert.equal(ran.code, 1, JSON.stringify(ran));
      assert.equal(JSON.parse(ran.out).code, code, ran.out);
    }
    assert.equal(agent.rows.size, 0);
  });
}

test('a configuration written over many lines, with what a shell could take amiss', async () => {
  const socket = nextSocket();
  await using agent = await new FakeAgent().listen(socket);
  agent.relay = true;
  const odd = { note: "`touch x` $(touch x) $HOME \\ ' % é \u2028", lines: Array(600).fill('-n') };
  const text = `${JSON.stringify(config(socket, odd), null, 1)}\n\n`;
  const ran = await plugin('ADD', text);
  assert.equal(ran.code, 0, ran.out + ran.err);
  assert.equal(agent.requests.length, 1);
});

test('a configuration that is too large is refused, not read on and on', async () => {
  const socket = nextSocket();
  await using agent = await new FakeAgent().listen(socket);
  agent.relay = true;
  const text = JSON.stringify(config(socket, { filler: 'x'.repeat(1_100_000) }));
  const ran = await plugin('ADD', text);
  assert.equal(ran.code, 1);
  assert.equal(JSON.parse(ran.out).code, 5);
  assert.equal(agent.rows.size, 0);
});

test('another agent named deeper in the configuration does not get the call', async () => {
  const socket = nextSocket();
  await using agent = await new FakeAgent().listen(socket);
  await using other = await new FakeAgent().listen(nextSocket());
  agent.relay = true;
  other.relay = true;
  const decoy = { args: { agentSocket: path.join(run, `${sockets - 1}`, 'agent.sock') } };
  const ran = await plugin('ADD', { ...decoy, ...config(socket) });
  assert.equal(ran.code, 0, ran.out);
  assert.equal(agent.rows.size, 1);
  assert.equal(other.rows.size, 0);
});

test('DEL without an agent succeeds and leaves a request for it', async () => {
  const socket = nextSocket();
  const ran = await plugin('DEL', config(socket), { CNI_NETNS: '/run/netns/gone' });
  assert.deepEqual(ran, { code: 0, out: '', err: '' });
  const { deletions } = readDeletions(path.join(path.dirname(socket), 'deletions'));
  assert.equal(deletions.length, 1);
  assert.equal(deletions[0]?.netns, '/run/netns/gone');
});

test('ADD waits for an agent that comes up, and gives code 11 for one that does not', async () => {
  const socket = nextSocket();
  const adding = plugin('ADD', config(socket));
  await new Promise((resolve) => setTimeout(resolve, 400));
  await using agent = await new FakeAgent().listen(socket);
  assert.equal((await adding).code, 0);
  assert.equal(agent.rows.size, 1);
  const none = await plugin('ADD', config(nextSocket(), { agentWaitSeconds: 0.2 }));
  assert.equal(JSON.parse(none.out).code, 11);
});

test('a burst that meets an agent just starting waits in the shell and starts no Node', async () => {
  const socket = nextSocket();
  // A Node would read this file first and fail.
  const env = { NODE_OPTIONS: `--require=${path.join(run, 'none.cjs')}` };
  const calls = Array.from({ length: 30 }, (_, i) =>
    plugin('ADD', config(socket), { ...env, CNI_CONTAINERID: `c${i}` }),
  );
  await new Promise((resolve) => setTimeout(resolve, 500));
  await using agent = await new FakeAgent().listen(socket);
  agent.relay = true;
  for (const ran of await Promise.all(calls)) assert.equal(ran.code, 0, ran.out + ran.err);
  assert.equal(agent.rows.size, 30);
});

test('the agent reaches a namespace that only the plugin can name', async () => {
  const socket = nextSocket();
  await using agent = await new FakeAgent().listen(socket);
  for (const relay of [true, false]) {
    agent.relay = relay;
    agent.rows.clear();
    // A mount namespace of its own, where alone the container's namespace has this path.
    const hidden = path.join(run, 'hidden');
    fs.writeFileSync(hidden, '');
    const script = 'mount --bind "$1" "$2"; CNI_NETNS=$2 exec "$3"';
    const ran = await plugin('ADD', config(socket), {}, [
      ...['unshare', '-m', 'sh', '-c', script, 'sh', netns.path, hidden, bin],
    ]);
    assert.equal(ran.code, 0, ran.out + ran.err);
    assert.equal(agent.rows.size, 1);
  }
});

test('the plugin works through a symbolic link and without socat', async () => {
  const socket = nextSocket();
  await using agent = await new FakeAgent().listen(socket);
  agent.relay = true;
  const dir = path.join(run, 'bin');
  fs.mkdirSync(dir);
  fs.symlinkSync(bin, path.join(dir, 'causeway-cni'));
  for (const tool of ['sh', 'readlink', 'head']) {
    fs.symlinkSync(must('which', tool).trim(), path.join(dir, tool));
  }
  const ran = await plugin('ADD', config(socket), { PATH: dir }, [path.join(dir, 'causeway-cni')]);
  assert.equal(ran.code, 0, ran.out + ran.err);
  assert.equal(agent.rows.size, 1);
});

test('a hundred calls at once', async () => {
  const socket = nextSocket();
  await using agent = await new FakeAgent().listen(socket);
  agent.relay = true;
  const calls = Array.from({ length: 100 }, (_, i) =>
    plugin('ADD', config(socket), { CNI_CONTAINERID: `c${i}` }),
  );
  const results = (await Promise.all(calls)).map((ran) => JSON.parse(ran.out));
  assert.equal(new Set(results.map((result) => result.ips[0].address)).size, 100);
  assert.equal(agent.rows.size, 100);
});

test('each call leaves a line in the log that the configuration names', async () => {
  const socket = nextSocket();
  await using agent = await new FakeAgent().listen(socket);
  const log = path.join(run, 'cni.log');
  for (const relay of [true, false]) {
    agent.relay = relay;
    await plugin('ADD', config(socket, { log }));
  }
  const lines = fs
    .readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    lines.map((line) => line.call),
    ['ADD c1 eth0: done', 'ADD c1 eth0: done'],
  );
});
