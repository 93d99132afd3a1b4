import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import { bindUdp, RtSocket } from '@causeway/linux';
import { connect, NodeSite, type TestPod } from './testing/node-site.ts';
import { echoServers, ping, tcpEcho, udpEcho } from './testing/traffic.ts';

const OPEN = 7781;
const CLOSED = 7782;
const LIFELINE = 7783;
const HOST = { id: 65_536, identity: 4001 } as const;
const POLICY = 9;
const hello = Buffer.from('hello');

for (const attachMode of ['tcx', 'clsact'] as const) {
  describe(`the node as an endpoint, ${attachMode}`, () => {
    const undo = new DisposableStack();
    let a: NodeSite;
    let b: NodeSite;
    let pod: TestPod;
    let own: TestPod;
    const servers = new Map<number, ReturnType<typeof echoServers>>();
    before(() => {
      const datapath = { attachMode };
      const letter = attachMode === 'tcx' ? 'x' : 'c';
      a = undo.use(new NodeSite({ name: `h${letter}a`, number: 1, tunnel: true, datapath }));
      b = undo.use(new NodeSite({ name: `h${letter}b`, number: 2, tunnel: true, datapath }));
      own = a.addPod(2, 3001);
      pod = b.addPod(2, 3002);
      connect(a, b);
      for (const port of [OPEN, CLOSED, LIFELINE]) {
        servers.set(port, undo.use(echoServers(a.ns, port)));
        undo.use(echoServers(b.ns, port));
        undo.use(echoServers(pod.ns, port));
        undo.use(echoServers(own.ns, port));
      }
    });
    after(() => undo.dispose());

    /** What the policy set of the node allows, in both directions. */
    const enforce = (
      rules: readonly { direction: 'ingress' | 'egress'; identity: number; port: number }[],
      revision: number,
      mode: 'enforced' | 'off' = 'enforced',
    ) => {
      a.datapath.enforcement.applySet({
        policyId: POLICY + revision,
        type: 'created',
        upserts: rules.flatMap(({ direction, identity, port }) =>
          [6, 17].map((protocol) => ({
            direction,
            identity,
            protocol,
            prefixLength: 16,
            port,
            flags: 0,
            ruleId: 1,
          })),
        ),
        deletes: [],
        info: {
          revision,
          prefixLengths: { ingress: 1 << 16, egress: 1 << 16 },
          ingress: mode,
          egress: mode,
        },
      } as never);
      for (const address of [a.ipv4, a.ipv6, a.gateway4, a.gateway6])
        a.datapath.putNodeAddress(address, {
          endpoint: {
            ...HOST,
            policyId: POLICY + revision,
            policyRevision: revision,
            ingress: mode,
            egress: mode,
          },
        });
      using rt = RtSocket.open(a.ns);
      const index = (name: string) => rt.link({ name })!.index;
      a.ns.run(() => {
        for (const ifname of ['eth0', 'cw_host', 'cw_vxlan'])
          a.datapath.attachHostPolicy({ ifname, ifindex: index(ifname) });
      });
    };

    const reaches = async (
      from: Place,
      to: Address,
      port: number,
      seconds = 5,
    ): Promise<string> => {
      const [tcp, udp] = await Promise.all([
        tcpEcho(from.nsName, to, port, hello).then((echo) => echo !== undefined),
        datagramEchoed(from, to, port, seconds),
      ]);
      return tcp === udp ? String(tcp) : `tcp ${tcp}, udp ${udp}`;
    };

    test('policy of both directions on its own traffic, to nodes and through the tunnel to pods', async () => {
      a.datapath.lifelines.replace([
        { direction: 'ingress', port: 8472, protocol: 17 },
        { direction: 'egress', port: 8472, protocol: 17 },
        { direction: 'egress', peer: b.ipv4, port: LIFELINE, protocol: 6 },
        { direction: 'egress', peer: b.ipv4, port: LIFELINE, protocol: 17 },
      ]);
      enforce(
        [
          { direction: 'ingress', identity: 6, port: OPEN },
          { direction: 'ingress', identity: 3002, port: OPEN },
          { direction: 'ingress', identity: 3001, port: OPEN },
          { direction: 'egress', identity: 6, port: OPEN },
          { direction: 'egress', identity: 3002, port: OPEN },
        ],
        1,
      );
      const cases: [string, Place, Address, number, boolean][] = [];
      // Programs are the same, however they are attached.
      for (const family of attachMode === 'tcx'
        ? (['ipv4', 'ipv6'] as const)
        : (['ipv6'] as const)) {
        const inside = family === 'ipv4' ? a.gateway4 : a.gateway6;
        for (const [port, expected] of [
          [OPEN, true],
          [CLOSED, false],
        ] as const) {
          cases.push(['in', b, a[family], port, expected]);
          cases.push(['out', a, b[family], port, expected]);
          cases.push(['from a pod', pod, inside, port, expected]);
          cases.push(['to a pod', a, pod[family], port, expected]);
        }
        cases.push(['own pod to node', own, inside, OPEN, true]);
        cases.push(['own pod to node', own, inside, CLOSED, false]);
        cases.push(['node to own pod', a, own[family], CLOSED, true]);
        cases.push(['pod to pod', own, pod[family], CLOSED, true]);
      }
      cases.push(['a lifeline', a, b.ipv4, LIFELINE, true]);
      cases.push(['of one address alone', a, b.ipv6, LIFELINE, false]);
      const told = await Promise.all(
        cases.map(async ([what, from, to, port, expected]) => {
          let answer = await reaches(from, to, port, expected ? 5 : 1);
          // A busy machine may be late with an answer; none comes for what is dropped.
          for (let tries = 0; expected && answer !== 'true' && tries < 10; tries++)
            answer = await reaches(from, to, port);
          return answer === String(expected) ? undefined : `${what} ${to} ${port}: ${answer}`;
        }),
      );
      assert.deepEqual(
        told.filter((each) => each !== undefined),
        [],
      );
      assert.equal(await ping(b.nsName, a.ipv6), false, 'no rule speaks of ping');
      const drops = a.datapath.counters().filter(({ reason }) => reason === 'policy-default');
      assert.deepEqual([...new Set(drops.map(({ direction }) => direction))].sort(), [
        'egress',
        'ingress',
      ]);
    });

    test('from a wire, an address of the node or of a pod of it opens nothing', async () => {
      const spoofed = () =>
        a.datapath
          .counters()
          .filter(({ reason }) => reason === 'spoofed-source')
          .reduce((sum, { packets }) => sum + packets, 0n);
      const passed: string[] = [];
      for (const [to, source] of [
        [a.ipv4, own.ipv4],
        [a.ipv4, a.gateway4],
        [a.ipv6, own.ipv6],
        [a.ipv6, a.gateway6],
      ] as const) {
        const { datagrams } = servers.get(CLOSED)!;
        const [dropped, heard] = [spoofed(), datagrams.length];
        await udpEcho(b.nsName, to, CLOSED, hello, { seconds: 0, source });
        const end = Date.now() + 10_000;
        while (spoofed() === dropped && datagrams.length === heard && Date.now() < end)
          await new Promise((resolve) => setTimeout(resolve, 5));
        if (datagrams.length !== heard || spoofed() === dropped) passed.push(`${source} to ${to}`);
      }
      assert.deepEqual(passed, []);
    });

    test('what has begun is not cut when the rule for it goes, and nothing new begins', async () => {
      a.datapath.ipcache.putAll([
        [
          Prefix.host(b.ipv4),
          {
            identity: 5001,
            tunnelEndpoint: undefined,
            noMasquerade: true,
            isProtected: false,
            isNode: true,
          },
        ],
      ]);
      enforce([{ direction: 'egress', identity: 5001, port: OPEN }], 2);
      using long = slowEcho(a.nsName, b.ipv4, OPEN);
      await long.begun;
      enforce([], 3);
      assert.equal(await tcpEcho(a.nsName, b.ipv4, OPEN, hello), undefined);
      assert.equal(await long.finish(), 'onetwo');
    });

    test('taken off, nothing is left of it', async () => {
      a.ns.run(() => {
        for (const ifname of ['eth0', 'cw_host', 'cw_vxlan']) a.datapath.detachHostPolicy(ifname);
      });
      assert.deepEqual(a.datapath.hostPolicyDevices(), []);
      assert.equal(await reaches(a, b.ipv4, CLOSED), 'true');
      assert.equal(await reaches(b, a.ipv6, CLOSED), 'true');
    });
  });
}

type Place = Pick<TestPod, 'ns' | 'nsName'>;

/** Whether a datagram comes back within that time. No process is started for it: a busy machine is slow at that. */
async function datagramEchoed({ ns }: Place, to: Address, port: number, seconds: number) {
  const v6 = Address.isIPv6(to);
  const socket = createSocket(v6 ? 'udp6' : 'udp4');
  try {
    socket.bind({ fd: bindUdp({ ns, address: new Uint8Array(v6 ? 16 : 4), port: 0 }).release() });
    socket.send(hello, port, to);
    await once(socket, 'message', { signal: AbortSignal.timeout(seconds * 1000) });
    return true;
  } catch {
    return false;
  } finally {
    socket.close();
  }
}

/** A connection that says one word now and another when told. */
function slowEcho(nsName: string, to: Address, port: number) {
  const child = spawn('nsenter', [`--net=/run/netns/${nsName}`, 'socat', '-', `TCP:${to}:${port}`]);
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
  let heard = '';
  const hears = (text: string) =>
    new Promise<string>((resolve) => {
      const look = () => heard.length >= text.length && resolve(heard);
      child.stdout.on('data', look);
      child.on('close', () => resolve(heard));
      look();
    });
  child.stdout.on('data', (chunk: Buffer) => {
    heard += chunk;
  });
  child.stdin.on('error', () => {});
  child.stdin.write('one');
  return {
    begun: hears('one'),
    finish(): Promise<string> {
      child.stdin.write('two');
      return hears('onetwo');
    },
    [Symbol.dispose](): void {
      clearTimeout(timer);
      child.kill('SIGKILL');
    },
  };
}
