// Our plugin in the company of others, called by the driver as a runtime calls it: others must understand our
// results, and we theirs.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { execPlugin } from '../testing/exec.ts';
import { FakeAgent } from '../testing/fake-agent.ts';
import { must, TestNetns } from '../testing/netns.ts';
import { CniRuntime } from './driver.ts';

const ours = fileURLToPath(new URL('../bin', import.meta.url));
const run = fs.mkdtempSync(path.join(os.tmpdir(), `cw-chain-${process.pid}-`));
const agentSocket = path.join(run, 'agent.sock');
const node = new TestNetns('node');
const pod = new TestNetns('pod');
const agent = await new FakeAgent().listen(agentSocket);
agent.relay = true;
after(async () => {
  await agent[Symbol.asyncDispose]();
  node[Symbol.dispose]();
  pod[Symbol.dispose]();
  fs.rmSync(run, { recursive: true, force: true });
});

const causeway = { type: 'causeway-cni', agentSocket };
const where = {
  containerId: pod.name,
  ifname: 'eth0',
  netns: pod.path,
  args: { IgnoreUnknown: '1', K8S_POD_NAMESPACE: 'shop', K8S_POD_NAME: 'db-0' },
};

function runtime(name: string, cniVersion: string, ...plugins: object[]): CniRuntime {
  return new CniRuntime({
    list: { cniVersion, name, disableCheck: false, plugins },
    pluginDirs: [ours, '/usr/lib/cni'],
    cacheDir: path.join(run, 'cache'),
    exec: execPlugin('ip', 'netns', 'exec', node.name),
  });
}

test('portmap after us forwards to the addresses of our result, in each version that both speak', async () => {
  const portmap = { type: 'portmap', capabilities: { portMappings: true }, snat: false };
  const capabilityArgs = {
    portMappings: [{ hostPort: 8098, containerPort: 80, protocol: 'tcp' }],
  };
  const nat = (tool: string) => must('ip', 'netns', 'exec', node.name, `${tool}-save`, '-t', 'nat');
  for (const cniVersion of ['0.3.1', '0.4.0', '1.0.0']) {
    const cni = runtime('ours', cniVersion, causeway, portmap);
    const result = (await cni.add({ ...where, capabilityArgs })) as { ips: { address: string }[] };
    const [v4, v6] = result.ips.map(({ address }) => address.slice(0, address.indexOf('/')));
    assert.ok(nat('iptables').includes(`--to-destination ${v4}:80`), nat('iptables'));
    assert.ok(nat('ip6tables').includes(`--to-destination [${v6}]:80`), nat('ip6tables'));
    await cni.del({ ...where, capabilityArgs });
    assert.equal(agent.rows.size, 0);
  }
});

test('after ptp we take its interface over and hand its result on', async () => {
  const ipam = {
    type: 'host-local',
    dataDir: path.join(run, 'host-local'),
    subnet: '10.92.0.0/24',
  };
  for (const cniVersion of ['0.4.0', '1.0.0']) {
    const cni = runtime(
      'theirs',
      cniVersion,
      { type: 'ptp', ipam },
      { ...causeway, chained: true },
    );
    const result = (await cni.add(where)) as {
      interfaces: { name: string }[];
      ips: { address: string }[];
    };
    const [row] = [...agent.rows.values()];
    assert.deepEqual(row?.body.chained, {
      hostIfname: result.interfaces[0]?.name,
      addresses: { ipv4: result.ips[0]?.address.replace('/24', '') },
    });
    const links = must('ip', '-n', node.name, 'link');
    assert.ok(links.includes(`${result.interfaces[0]?.name}@`), links);
    await cni.check(where);
    await cni.del(where);
    assert.equal(agent.rows.size, 0);
  }
});

test('status and garbage collection of 1.1.0, by a runtime', async () => {
  const cni = runtime('newest', '1.1.0', causeway);
  await cni.status();
  await cni.add(where);
  await cni.check(where);
  agent.cni = { ready: false, reasons: ['no address is free'] };
  await assert.rejects(cni.status(), /no address is free/);
  agent.cni = { ready: true, reasons: [] };
  // An attachment of which the runtime lost sight: only the agent knows it.
  agent.answer('POST', '/v1/endpoints', { containerId: 'lost', ifname: 'eth0', netns: '/x' });
  await cni.gc([where]);
  assert.deepEqual([...agent.rows.keys()], [`${pod.name}/eth0`]);
  await cni.gc([]);
  assert.equal(agent.rows.size, 0);
  assert.deepEqual(cni.attachments(), []);
});
