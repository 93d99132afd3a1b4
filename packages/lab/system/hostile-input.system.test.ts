import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectKv } from '@causeway/etcd';
import { nodePaths, nodePrograms } from '../index.ts';
import { type BarePod, barePod, cni } from './bare-pods.ts';
import { apply, eventually, expectNow, statusOf, useLab } from './support.ts';

const PROGRAM = join(import.meta.dirname, '../../cli/bin/causeway');
const CLIENT = 'main/default/client';

const lab = useLab(
  'input',
  `racks:
  - {name: rack, ipv4: 192.168.37.0/24, ipv6: "fd3c::/64"}
clusters:
  - name: main
    id: 1
    podCIDRs: {ipv4: 10.38.0.0/16, ipv6: "fd3c:1::/48"}
    serviceCIDRs: [10.39.0.0/16, "fd3c:39::/112"]
    agent: {limits: {requestBytes: 262144}}
    nodes: [{name: n1, rack: rack}]
    pods:
      - {name: client, node: n1, labels: {app: client}}
      - {name: server, node: n1, labels: {app: server}, serve: [{port: 80, type: http}]}
`,
);

/** What bad input must not change: the agent's process, its endpoints, the pods' traffic. */
async function unchanged(pid: number | undefined): Promise<void> {
  assert.equal(lab().agent('n1').pid, pid, 'the same agent runs');
  assert.equal(await lab().agent('n1').missing(), undefined);
  const rows = (await lab().agent('n1').get('/v1/endpoints')) as { podName: string }[];
  assert.deepEqual(rows.map(({ podName }) => podName).sort(), ['client', 'server']);
  await expectNow(
    (await lab().addresses('main/default/server')).map((address) => ({
      what: `client asks ${address}`,
      wanted: 'answered' as const,
      attempt: () => lab().traffic.http(CLIENT, address, 80),
    })),
  );
}

const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);

test('CNI input that is wrong, huge or hostile gets an error in CNI’s form and changes nothing', async () => {
  const { pid } = lab().agent('n1');
  const pod = await barePod(lab(), 'n1', 'input');
  const fifo = join(nodePaths(lab().name, 'n1').directory, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const env = (change: Record<string, string>) => ({ env: change });
  const bad: Record<string, Parameters<typeof cni>[3]> = {
    'no container id': env({ CNI_CONTAINERID: '' }),
    'a container id that climbs': env({ CNI_CONTAINERID: '../../etc/passwd' }),
    'a long container id': env({ CNI_CONTAINERID: 'a'.repeat(5000) }),
    'an interface name that climbs': env({ CNI_IFNAME: '../eth0' }),
    'a long interface name': env({ CNI_IFNAME: 'e'.repeat(16) }),
    'an interface name with a space': env({ CNI_IFNAME: 'e 0' }),
    'an empty interface name': env({ CNI_IFNAME: '' }),
    'no namespace': env({ CNI_NETNS: '' }),
    'a namespace that is not there': env({ CNI_NETNS: '/run/netns/nobody' }),
    'a file in place of a namespace': env({ CNI_NETNS: '/etc/passwd' }),
    'a directory in place of a namespace': env({ CNI_NETNS: '/' }),
    'a device in place of a namespace': env({ CNI_NETNS: '/dev/zero' }),
    'a pipe in place of a namespace': env({ CNI_NETNS: fifo }),
    'the node in place of a namespace': env({ CNI_NETNS: '/proc/self/ns/net' }),
    'another kind of namespace': env({ CNI_NETNS: '/proc/self/ns/mnt' }),
    'arguments that are none': env({ CNI_ARGS: 'K8S_POD_NAME;;=;a' }),
    'a pod name that climbs': env({ CNI_ARGS: 'K8S_POD_NAMESPACE=../..;K8S_POD_NAME=../x' }),
    'a command that is none': env({ CNI_COMMAND: 'EXPLODE' }),
    'a version of the future': { config: { cniVersion: '9.0.0' } },
    'a version that is no text': { config: { cniVersion: { a: 1 } } },
    'a socket path that is too long': { config: { agentSocket: `/${'a'.repeat(300)}` } },
    'an mtu below the least': { config: { mtu: 12 } },
    'an mtu that is no number': { config: { mtu: 'large' } },
    'a wait without end': { config: { agentWaitSeconds: 1e9 } },
    'a huge configuration': { config: { padding: 'x'.repeat(3 << 20) } },
  };
  for (const [what, change] of Object.entries(bad)) {
    const started = performance.now();
    const { code, stdout } = await cni(lab(), 'ADD', pod, change);
    assert.notEqual(code, 0, `${what}: ${stdout}`);
    const error = JSON.parse(stdout) as { code?: number; msg?: string };
    assert.ok(typeof error.code === 'number' && error.code > 0, `${what}: ${stdout}`);
    assert.ok(typeof error.msg === 'string' && error.msg.length < 2000, `${what}: ${stdout}`);
    assert.ok(performance.now() - started < 12_000, `${what} takes too long`);
  }
  await rawConfigs(pod);
  rmSync(fifo);
  await unchanged(pid);
});

/** Standard input that is no JSON, or too much of it. */
async function rawConfigs(pod: BarePod): Promise<void> {
  const plugin = join(import.meta.dirname, '../../cni/bin/causeway-cni');
  for (const input of [
    '',
    '{',
    'null',
    '[]',
    '7',
    nested(200_000),
    '{"cniVersion":"1.1.0"}',
    '\u0000',
  ]) {
    const { code, stdout } = await lab().exec('n1', [plugin], {
      timeoutMs: 30_000,
      input,
      env: {
        ...{ CNI_COMMAND: 'ADD', CNI_CONTAINERID: pod.containerId, CNI_NETNS: pod.netns },
        ...{ CNI_IFNAME: 'eth0', CNI_PATH: '/nowhere' },
      },
    });
    assert.notEqual(code, 0, input.slice(0, 40));
    const error = JSON.parse(stdout) as { code?: number };
    assert.ok(typeof error.code === 'number', stdout);
  }
}

test('requests to the agent that are wrong, huge or slow are refused by field, and others go on', async () => {
  const agent = lab().agent('n1');
  const { pid } = agent;
  const good = { containerId: 'a', ifname: 'eth0', netns: '/run/netns/nobody' };
  const cases: [string, string, unknown, number][] = [
    ['POST', '/v1/endpoints', null, 400],
    ['POST', '/v1/endpoints', [], 400],
    ['POST', '/v1/endpoints', { ...good, netns: 'relative' }, 400],
    ['POST', '/v1/endpoints', { ...good, unknown: 1 }, 400],
    ['POST', '/v1/endpoints', { ...good, mtu: 1e99 }, 400],
    ['POST', '/v1/endpoints', { ...good, labels: { '': 'x' } }, 400],
    ['POST', '/v1/endpoints', { ...good, labels: { a: 'x'.repeat(64) } }, 400],
    ['POST', '/v1/endpoints', good, 422],
    ['POST', '/v1/gc', {}, 400],
    ['POST', '/v1/gc', { validAttachments: 'all' }, 400],
    ['POST', '/v1/policy/trace', { from: { endpoint: -1 }, to: 'x' }, 400],
    ['POST', '/v1/policy/what-if', { manifests: [] }, 400],
    ['PATCH', '/v1/endpoints/99999999999', { policyAudit: true }, 400],
    ['PATCH', '/v1/endpoints/77', { policyAudit: true }, 404],
    ['GET', '/v1/endpoints/..%2f..%2fetc', undefined, 400],
    ['GET', '/v1/tables/__proto__', undefined, 404],
    ['GET', '/v1/nothing', undefined, 404],
    ['GET', '/v1/monitor?type=everything', undefined, 400],
  ];
  for (const [method, path, body, wanted] of cases) {
    const answer = await agent.ask(method as 'GET', path, body);
    const what = `${method} ${path} ${JSON.stringify(body)?.slice(0, 60)}`;
    assert.equal(answer.status, wanted, `${what}: ${JSON.stringify(answer.body).slice(0, 200)}`);
    const { error } = answer.body as { error?: { code?: string; message?: string } };
    assert.ok(error?.code !== undefined && error.message !== undefined, what);
    assert.ok(JSON.stringify(answer.body).length < 4000, `${what}: a short answer`);
  }
  // Bytes that are no HTTP, requests that never end, and bodies that nest without end.
  const raw = (bytes: string) => {
    const socket = createConnection(agent.socket);
    socket.on('error', () => {});
    socket.write(bytes);
    return socket;
  };
  const huge = 'x'.repeat(300_000);
  const tooLarge = raw(
    `POST /v1/endpoints HTTP/1.1\r\nHost: a\r\nContent-Length: ${huge.length}\r\n\r\n${huge}`,
  );
  const [refusal] = (await once(tooLarge, 'data')) as [Buffer];
  assert.match(refusal.toString(), /^HTTP\/1\.1 413 .*body-too-large/s);
  tooLarge.destroy();
  const body = nested(100_000);
  const open = [
    ...Array.from({ length: 100 }, () => raw('GET /v1/status HTTP/1.1\r\nHost: a\r\nX: ')),
    raw('\u0000\u0001\u0002\r\n\r\n'),
    raw(`POST /v1/endpoints HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`),
    raw('POST /v1/endpoints HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n{'),
    raw(`GET /${'x'.repeat(100_000)} HTTP/1.1\r\n\r\n`),
  ];
  await unchanged(pid);
  for (const socket of open) socket.destroy();
  const mode = execFileSync('stat', ['-c', '%a %U', agent.socket], { encoding: 'utf8' }).trim();
  assert.equal(mode, '600 root', 'only root may speak to the agent');
});

const policy = (name: string, spec: object) => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: { name, namespace: 'default' },
  spec: { endpointSelector: { matchLabels: { app: 'client' } }, ...spec },
});

/** `causeway apply -f -`, as an administrator does it. */
const applied = (text: string) =>
  lab().exec('n1', [PROGRAM, '--context', `lab:${lab().name}/main`, 'apply', '-f', '-'], {
    input: text,
    timeoutMs: 30_000,
  });

test('manifests that are wrong, huge or hostile are refused whole, with the path of what is wrong', async () => {
  const { pid } = lab().agent('n1');
  const store = await lab().cluster().store();
  const fine = 'apiVersion: v1\nkind: Namespace\nmetadata: {name: innocent}\n---\n';
  let bomb = 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n';
  for (let i = 1; i < 12; i++)
    bomb += `a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(', ')}]\n`;
  const l7 = policy('seven', {
    ingress: [{ toPorts: [{ ports: [{ port: '80' }], rules: { http: [{ path: '/' }] } }] }],
  });
  const fqdn = policy('names', { egress: [{ toFQDNs: [{ matchName: 'example.org' }] }] });
  const bad: [string, string, RegExp][] = [
    ['an alias bomb', bomb, /alias|too many values/],
    ['nesting without end', nested(50_000), /./],
    ['no YAML', '{a: [', /./],
    ['an unknown kind', 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}', /ConfigMap/],
    ['another version', 'apiVersion: v9\nkind: Pod\nmetadata: {name: a}', /v9/],
    ['no name', 'apiVersion: v1\nkind: Namespace\nmetadata: {}', /name/],
    ['a name that climbs', 'apiVersion: v1\nkind: Namespace\nmetadata: {name: ../../x}', /name/],
    ['a list of nothing', 'apiVersion: v1\nkind: List\nitems: [7]', /./],
    ['application rules', JSON.stringify(l7), /rules/],
    ['names of the world', JSON.stringify(fqdn), /toFQDNs/],
    [
      'a CIDR that is none',
      JSON.stringify(policy('c', { ingress: [{ fromCIDR: ['10.0.0.0/99'] }] })),
      /fromCIDR/,
    ],
    ['a field that is none', JSON.stringify(policy('f', { ingres: [] })), /ingres/],
    [
      'a port of the wrong kind',
      JSON.stringify(policy('p', { ingress: [{ toPorts: [{ ports: [{ port: 70000 }] }] }] })),
      /port/,
    ],
    [
      'a huge text',
      `apiVersion: v1\nkind: Namespace\nmetadata: {name: big, annotations: {a: "${'x'.repeat(3 << 20)}"}}`,
      /./,
    ],
  ];
  for (const [what, text, words] of bad) {
    const started = performance.now();
    const { code, stdout, stderr } = await applied(fine + text);
    assert.notEqual(code, 0, `${what}: ${stdout}`);
    assert.match(stderr, words, what);
    assert.ok(stderr.length < 4000, `${what}: a short error`);
    assert.doesNotMatch(stderr, /\bat .*\.ts:\d+/, `${what}: no stack`);
    assert.ok(performance.now() - started < 10_000, `${what} takes too long`);
    await assert.rejects(
      store.get('Namespace', { name: 'innocent' }),
      { code: 'not-found' },
      `${what}: nothing of it is applied`,
    );
  }
  await unchanged(pid);
});

test('garbage in the store, past every check, is passed over and told, and the rest goes on', async () => {
  const { pid } = lab().agent('n1');
  await using kv = await connectKv({ endpoints: [`unix:${lab().cluster().etcd.socket}`] });
  const keys = [
    'causeway/registry/networkpolicies/default/garbage',
    'causeway/registry/pods/default/garbage',
    'causeway/registry/services/default/garbage',
    'causeway/registry/ciliumnodes/garbage',
    'cilium/state/ip/v1/default/10.38.9.9',
    'cilium/state/ip/v1/default/not-an-address',
    'cilium/state/nodes/v1/main/garbage',
    'cilium/state/identities/v1/id/99999999',
    'cilium/state/identities/v1/id/not-a-number',
  ];
  const values = [
    '',
    '{',
    'null',
    nested(5000),
    JSON.stringify({ kind: 'Pod' }),
    'x'.repeat(100_000),
  ];
  for (const value of values) {
    for (const key of keys) await kv.put(key, value);
    await unchanged(pid);
  }
  const told = await eventually('the status tells', async () => {
    const { sources } = await statusOf(lab(), 'n1');
    const lines = sources.filter(({ detail }) => /passed over|[1-9]\d* refused/.test(detail));
    return lines.length > 0 ? lines : undefined;
  });
  assert.ok(told.length >= 2, JSON.stringify(told));
  // What is right still comes through beside it.
  await apply(lab(), 'main', policy('closed', { ingress: [{}] }));
  for (const key of keys) await kv.delete(key);
  await (await lab().cluster().store()).delete('CiliumNetworkPolicy', {
    namespace: 'default',
    name: 'closed',
  });
  await unchanged(pid);
});

test('a configuration that is wrong is refused by field, value and what is allowed', async () => {
  const { directory } = nodePaths(lab().name, 'n1');
  const { config: agentConfig } = nodePrograms(lab().name, 'n1', 'agent');
  const text = readFileSync(agentConfig, 'utf8');
  const other = text.replace('runDir: /run/causeway', 'runDir: /run/causeway/refused');
  const file = join(directory, 'wrong.yaml');
  const folder = join(directory, 'wrong.d');
  mkdirSync(folder);
  const bad: [string, string, RegExp][] = [
    ['an unknown key', `${other}\nrouting: native\n`, /routing\b.*routingMode/s],
    [
      'a mode that is none',
      other.replace(/routingMode: .*/, 'routingMode: tunel'),
      /routingMode.*tunnel/s,
    ],
    ['a port out of range', other.replace(/port: \d+/, 'port: 70000'), /tunnel\.port.*65535/s],
    ['a CIDR that is none', `${other}\nserviceCIDRs: [10.0.0.0/33]\n`, /serviceCIDRs|unique/],
    ['a family of neither kind', other.replace(/- ipv4/, '- ipv5'), /families.*ipv4/s],
    ['no YAML', '{{{{', /YAML/],
    ['a text', 'hello', /./],
    [
      'a limit of nothing',
      other.replace(/requestBytes: \d+/, 'requestBytes: 1'),
      /limits\.requestBytes/,
    ],
  ];
  for (const [what, content, words] of bad) {
    writeFileSync(file, content);
    const { code, stdout, stderr } = await lab().exec('n1', [PROGRAM, 'agent', '--config', file], {
      timeoutMs: 15_000,
    });
    assert.notEqual(code, 0, what);
    assert.match(`${stdout}${stderr}`, words, what);
    assert.doesNotMatch(`${stdout}${stderr}`, /\bat .*\.ts:\d+/, `${what}: no stack`);
  }
  for (const path of [join(directory, 'missing.yaml'), folder]) {
    const { code, stderr } = await lab().exec('n1', [PROGRAM, 'agent', '--config', path], {
      timeoutMs: 15_000,
    });
    assert.notEqual(code, 0);
    assert.ok(stderr.includes(path), stderr);
  }
});
