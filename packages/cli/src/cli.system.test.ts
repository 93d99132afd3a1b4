// The command line as a person or a script uses it, against a whole lab.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

const NAME = `t-cli-${process.pid}`;
const PROGRAM = join(import.meta.dirname, '../bin/causeway');
const POLICY = join(import.meta.dirname, '../../../examples/protected-db');

function causeway(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(PROGRAM, args, {
    encoding: 'utf8',
    env: { ...process.env, CAUSEWAY_CONTEXT: `lab:${NAME}/main` },
  });
  return { code: status, out: stdout, err: stderr };
}

function json(...args: string[]): unknown {
  const { code, out, err } = causeway('--json', ...args);
  assert.equal(code, 0, `${args.join(' ')}: ${err}`);
  return JSON.parse(out);
}

before(() => {
  const { code, out, err } = causeway('lab', 'up', 'tiny', '--name', NAME, '--json');
  assert.equal(code, 0, err);
  const { name, contexts } = JSON.parse(out) as { name: string; contexts: string[] };
  assert.deepEqual([name, contexts], [NAME, [`lab:${NAME}/main`]]);
  assert.match(err, /every table is reconciled/, 'progress goes to standard error');
});

after(() => {
  assert.match(causeway('lab', 'down', NAME, '--force').out, /is down/);
  assert.match(causeway('lab', 'down', NAME).out, /was not up/);
});

test('lab ls, places and exec find their way; the exit status of a command is ours', () => {
  assert.match(causeway('lab', 'ls').out, new RegExp(`^${NAME} +up +main +2 +2 `, 'm'));
  const places = json('lab', 'places', NAME) as { kind: string; place: string }[];
  assert.deepEqual(
    places.map(({ kind, place }) => `${kind} ${place}`),
    [
      'rack rack',
      'node n1',
      'node n2',
      'etcd main/etcd',
      'pod main/default/client',
      'pod main/default/server',
    ],
  );
  assert.equal(causeway('lab', 'exec', `${NAME}/n1`, '--', 'hostname').out, 'n1\n');
  assert.equal(
    causeway('lab', 'exec', `${NAME}/main/default/client`, '--', 'sh', '-c', 'exit 7').code,
    7,
  );
  assert.equal(causeway('lab', 'exec', `${NAME}/nowhere`, '--', 'true').code, 3);
  const { programs, sessions } = json('lab', 'status', NAME) as {
    programs: { place: string; program: string; missing?: string }[];
    sessions: unknown[];
  };
  assert.deepEqual(
    programs.map(({ place, program, missing }) => `${place} ${program} ${missing ?? 'ready'}`),
    ['n1 agent ready', 'n2 agent ready'],
  );
  assert.deepEqual(sessions, [], 'nobody speaks BGP here');
  assert.equal(causeway('lab', 'speaker', `${NAME}/n1`, 'kill').code, 2);
  assert.equal(causeway('lab', 'router', `${NAME}/n1`, 'off').code, 3);
  assert.equal(causeway('lab', 'up', 'tiny', '--name', NAME).code, 4);
  const result = json('lab', 'exec', `${NAME}/n2`, '--', 'echo', '-n', 'x') as { stdout: string };
  assert.equal(result.stdout, 'x');
});

test('what agents know comes from all nodes, or from one', () => {
  assert.match(causeway('status').out, /^n1 +yes +tunnel +ipv4,ipv6 +1/m);
  const endpoints = json('endpoint', 'list') as { node: string; podName: string }[];
  assert.deepEqual(endpoints.map(({ node, podName }) => `${node} ${podName}`).sort(), [
    'n1 client',
    'n2 server',
  ]);
  assert.equal((json('endpoint', 'list', '--node', 'n2') as unknown[]).length, 1);
  assert.equal(causeway('endpoint', 'list', '--node', 'n9').code, 3);
  const server = json('endpoint', 'get', 'server') as {
    identity: number;
    addresses: { ipv4: string };
  };
  const [entry] = json('ipcache', 'get', server.addresses.ipv4) as { identity: number }[];
  assert.equal(entry?.identity, server.identity);
  const identity = json('identity', 'get', String(server.identity)) as { labels: string[] };
  assert.ok(identity.labels.includes('k8s:app=server'));
  assert.match(causeway('node', 'list').out, /^all +n1 +main/m);
  assert.ok((json('table') as string[]).includes('endpoints'));
  assert.equal(causeway('table', 'nonsense').code, 3);
  assert.equal(causeway('endpoint', 'get', '10.50.9.9').code, 3);
  assert.match(causeway('describe', 'pod', 'server').out, /# endpoint on n2/);
});

test('policy: what-if, apply, trace with its exit status, the drop explained, and audit', async () => {
  const manifest = causeway('apply', '--dry-run', '--json', '-f', POLICY);
  const { results } = JSON.parse(manifest.out) as {
    results: { object: Record<string, unknown> }[];
  };
  const policy = structuredClone(results[0]!.object) as {
    spec: { endpointSelector: unknown; ingress: { toPorts: { ports: { port: string }[] }[] }[] };
  };
  policy.spec.endpointSelector = { matchLabels: { app: 'server' } };
  policy.spec.ingress[0]!.toPorts[0]!.ports[0]!.port = '80';
  const apply = spawnSync(
    PROGRAM,
    ['--context', `lab:${NAME}/main`, 'policy', 'what-if', '-f', '-'],
    {
      encoding: 'utf8',
      input: JSON.stringify(policy),
    },
  );
  assert.match(apply.stdout, /app=client.*app=server.*allow +deny/, apply.stderr);
  assert.equal(
    causeway('policy', 'trace', '--from', 'client', '--to', 'server', '--port', '80').code,
    0,
  );
  const done = spawnSync(PROGRAM, ['--context', `lab:${NAME}/main`, 'apply', '-f', '-'], {
    encoding: 'utf8',
    input: JSON.stringify(policy),
  });
  assert.match(done.stdout, /CiliumNetworkPolicy default\/protected-db created/, done.stderr);

  const monitor = spawn(
    PROGRAM,
    ['--context', `lab:${NAME}/main`, '--json', 'monitor', '--type', 'drop'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let first: string | undefined;
  createInterface({ input: monitor.stdout }).once('line', (line) => {
    first = line;
  });
  const address = (json('endpoint', 'get', 'server') as { addresses: { ipv4: string } }).addresses
    .ipv4;
  const connect = () =>
    causeway(
      'lab',
      'exec',
      `${NAME}/main/default/client`,
      '--',
      'socat',
      '-u',
      '/dev/null',
      `TCP:${address}:80,connect-timeout=1`,
    );
  // From apply to enforced takes a moment, and so does the monitor until it listens.
  let last = connect();
  for (let i = 0; i < 60 && (last.code === 0 || first === undefined); i++) {
    last = connect();
    await setTimeout(50);
  }
  assert.notEqual(last.code, 0);
  assert.ok(first !== undefined, 'the monitor tells of a drop');
  const event = JSON.parse(first) as { node: string; type: string; text: string };
  monitor.kill('SIGTERM');
  assert.equal(
    await new Promise((resolve) => monitor.once('close', resolve)),
    0,
    'a signal ends it in good order',
  );
  assert.deepEqual([event.node, event.type], ['n2', 'drop']);
  assert.match(event.text, /default\/client.*default\/server.*app must be employee, is client/);

  const trace = causeway('policy', 'trace', '--from', 'client', '--to', 'server', '--port', '80');
  assert.equal(trace.code, 1);
  assert.match(trace.out, /deny\n/);
  assert.match(causeway('drops').out, /policy-default +ingress +[1-9]/);
  assert.match(
    causeway('policy', 'list', '--node', 'n2').out,
    /default\/server +\d+ +enforced +off/,
  );
  assert.match(causeway('endpoint', 'audit', 'server').out, /audit: true/);
  for (let i = 0; i < 60 && last.code !== 0; i++) last = connect();
  assert.equal(last.code, 0, 'audit lets it pass');
  assert.match(causeway('endpoint', 'audit', 'server', '--off').out, /audit: false/);
  assert.match(causeway('delete', 'cnp', 'protected-db').out, /deleted/);
});

test('an agent that is gone is named, the others still answer, and the exit status says it', () => {
  assert.match(causeway('lab', 'agent', `${NAME}/n2`, 'kill').out, /kill done/);
  const status = causeway('status');
  assert.equal(status.code, 5);
  assert.match(status.out, /^n1 +yes/m);
  assert.match(status.err, /agent on n2 does not answer/);
  assert.equal(causeway('lab', 'agent', `${NAME}/n2`, 'dance').code, 2);
  assert.equal(causeway('lab', 'agent', `${NAME}/n2`, 'start').code, 0);
  let last = causeway('status');
  for (let i = 0; i < 100 && last.code !== 0; i++) last = causeway('status');
  assert.equal(last.code, 0, last.out + last.err);
  assert.match(causeway('lab', 'logs', `${NAME}/n2`).out, /takes requests/);
});
