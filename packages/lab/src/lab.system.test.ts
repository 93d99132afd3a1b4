import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { destroyLab, type Lab, LabError, labNames, openLab, until, upLab } from '../index.ts';

const NAME = `t-sys-${process.pid}`;
const KILLED = `t-kill-${process.pid}`;
const CLI = join(import.meta.dirname, '../../cli/bin/causeway');
const CLIENT = 'main/default/client';
const SERVER = 'main/default/server';
let lab: Lab;

before(async () => {
  lab = await upLab('tiny', { name: NAME });
});

after(async () => {
  await lab?.[Symbol.asyncDispose]();
  await destroyLab(NAME, { force: true });
  await destroyLab(KILLED, { force: true });
});

test('when up returns, pods answer at once in both families and every table is whole', async () => {
  const addresses = await lab.addresses(SERVER);
  assert.equal(addresses.length, 2);
  for (const address of addresses) {
    const { outcome, answer, detail } = await lab.traffic.http(CLIENT, address, 80);
    assert.deepEqual([outcome, answer], ['answered', 'server'], detail);
  }
  await lab.settled({ timeoutMs: 1000 });
});

test('the lab plays the kubelet: readiness and termination reach the store, new pods get addresses', async () => {
  const store = await lab.cluster().store();
  const ready = async () => {
    const pod = await store.get('Pod', { namespace: 'default', name: 'server' });
    return pod.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  };
  assert.equal(await ready(), 'True');
  await lab.setReady(SERVER, false);
  assert.equal(await ready(), 'False');
  await lab.setReady(SERVER, true);
  const pod = {
    cluster: 'main',
    namespace: 'default',
    name: 'later',
    node: 'n1',
    labels: {},
    runtime: 'netns',
    serve: [],
  } as const;
  const [addresses] = await lab.addPods([pod]);
  assert.equal(addresses?.length, 2);
  assert.equal((await lab.traffic.ping(CLIENT, addresses![0]!)).outcome, 'answered');
  await lab.removePod('main/default/later');
  await assert.rejects(store.get('Pod', { namespace: 'default', name: 'later' }), {
    code: 'not-found',
  });
  assert.throws(() => lab.prefix('main/default/later'), { code: 'place-unknown' });
});

test('another process opens the same lab; a second up under its name is refused', async () => {
  await using again = openLab(NAME);
  assert.equal((await again.exec(CLIENT, ['true'])).code, 0);
  await assert.rejects(
    upLab('tiny', { name: NAME }),
    (error: unknown) => error instanceof LabError && error.code === 'lab-exists',
  );
  assert.equal((await lab.exec('n1', ['true'])).code, 0, 'the refusal took nothing down');
});

test('an agent that was killed comes back to the same tables, and traffic does not notice', async () => {
  const [address] = await lab.addresses(SERVER);
  const agent = lab.agent('n2');
  const before = agent.pid;
  await agent.kill();
  assert.equal(agent.pid, undefined);
  assert.equal((await lab.traffic.http(CLIENT, address!, 80)).outcome, 'answered');
  await agent.start();
  await lab.settled();
  assert.notEqual(agent.pid, before);
  assert.equal((await lab.traffic.http(CLIENT, address!, 80)).outcome, 'answered');
});

test('an up that is killed leaves a half-built lab that down removes whole', async () => {
  const up = spawn(CLI, ['lab', 'up', 'tiny', '--name', KILLED], { stdio: 'ignore' });
  const ended = new Promise((resolve) => up.once('close', resolve));
  const netns = (): number =>
    readdirSync('/run/netns').filter((name) => name.startsWith(`cwlab.${KILLED}.`)).length;
  await until('half a lab', () => (netns() >= 4 ? undefined : 'no namespaces'), {
    timeoutMs: 20_000,
  });
  await assert.rejects(destroyLab(KILLED), { code: 'lab-busy' });
  up.kill('SIGKILL');
  await ended;
  assert.throws(() => openLab(KILLED), { code: 'lab-incomplete' });
  const report = await destroyLab(KILLED);
  assert.ok(report.existed && report.namespaces >= 4);
  assert.equal(netns(), 0);
  assert.equal(existsSync(`/run/causeway-lab/${KILLED}`), false);
  assert.ok(!labNames().includes(KILLED));
});
