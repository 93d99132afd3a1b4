// A container of podman, which knows no Kubernetes, on a node of the lab, by the real plugin; and after another plugin
// that made the interface.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { nodePrograms } from '../index.ts';
import { netnsPath } from '../src/host/names.ts';
import { Podman } from '../src/runtimes/podman.ts';
import { families, sh, useLab } from './support.ts';

const lab = useLab(
  'podman',
  `racks:
  - {name: rack, ipv4: 192.168.52.0/24, ipv6: "fd52::/64"}
clusters:
  - name: main
    id: 1
    podCIDRs: {ipv4: 10.52.0.0/16, ipv6: "fd52:1::/48"}
    serviceCIDRs: [10.53.0.0/16, "fd52:51::/112"]
    nodes:
      - {name: n1, rack: rack}
      - {name: n2, rack: rack}
    pods:
      - {name: near, node: n1}
      - {name: far, node: n2}
`,
);
const directory = mkdtempSync(join(tmpdir(), `cw${process.pid}-`));
after(() => rmSync(directory, { recursive: true, force: true }));

/** Podman in the node's network and below its cgroup, where the hooks of its agent are. */
function options(part: string, ...plugins: object[]) {
  const { context } = lab();
  const cgroup = context.cgroup({ kind: 'pod', place: 'podman', node: 'n1' });
  return {
    directory: join(directory, part),
    cniBinDirs: [join(import.meta.dirname, '../../cni/bin'), '/usr/lib/cni'],
    cniList: { cniVersion: '1.0.0', name: `${part}${process.pid}`, plugins },
    enter: ['nsenter', `--net=${netnsPath(context.names, 'n1')}`],
    cgroupParent: cgroup.slice(context.state.cgroupRoot.length),
  };
}

const causeway = () => ({
  type: 'causeway-cni',
  agentSocket: nodePrograms(lab().name, 'n1', 'agent').socket,
});

test('a container of podman reaches pods on both nodes, is reached, and goes without a trace', async () => {
  await using podman = await Podman.prepare(options('ours', causeway()));
  const name = `cw${process.pid}-ours`;
  await podman.run(name);
  const own = await podman.addresses(name);
  assert.equal(own.length, 2);
  for (const place of ['main/default/near', 'main/default/far']) {
    for (const { address } of await families(lab(), place)) {
      const { code, stdout } = await podman.exec(name, ['/bin/ping', '-c1', '-W3', address]);
      assert.equal(code, 0, `${place} ${address}: ${stdout}`);
    }
    for (const address of own) await sh(lab(), place, `busybox ping -c1 -W3 ${address}`);
  }
  const list = async () =>
    (await lab().agent('n1').get('/v1/endpoints')) as { addresses: { ipv4: string } }[];
  assert.ok((await list()).some(({ addresses }) => addresses.ipv4 === own[0]));
  await podman.remove(name);
  assert.ok(!(await list()).some(({ addresses }) => addresses.ipv4 === own[0]));
});

test('chained after ptp: the agent adopts its interface, and lets it go', async () => {
  const subnet = [[{ subnet: '10.99.0.0/24' }], [{ subnet: 'fd99::/64' }]];
  const ptp = {
    type: 'ptp',
    ipam: { type: 'host-local', dataDir: join(directory, 'leases'), ranges: subnet },
  };
  await using podman = await Podman.prepare(
    options('theirs', ptp, { ...causeway(), chained: true }),
  );
  const name = `cw${process.pid}-theirs`;
  await podman.run(name);
  const [ipv4] = await podman.addresses(name);
  const list = async () =>
    (await lab().agent('n1').get('/v1/endpoints')) as {
      addresses: { ipv4?: string };
      hostIfname: string;
      state: string;
    }[];
  const adopted = (await list()).find(({ addresses }) => addresses.ipv4 === ipv4);
  assert.equal(adopted?.state, 'ready', JSON.stringify(await list()));
  assert.match(adopted?.hostIfname ?? '', /^veth/);
  await podman.remove(name);
  assert.ok(!(await list()).some(({ addresses }) => addresses.ipv4 === ipv4));
});
