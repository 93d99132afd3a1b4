/**
 * What an agent needs: from its start to taking requests and to having everything in step, its memory,
 * and its processor time at rest; with 250 endpoints on the node and 50,000 entries in the ipcache,
 * against an agent with nothing at all, in turn.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentStatus } from '@causeway/agent';
import { type LabAgent, nodePaths } from '@causeway/lab';
import { BpfMap } from '@causeway/linux';
import {
  type Bar,
  type Benchmark,
  compare,
  type Figure,
  type Measure,
  median,
} from './lib/benchmark.ts';
import { openStore, putIdentities, putIpEntries } from './lib/identities.ts';
import { type BenchLab, benchLab } from './lib/site.ts';

const EMPTY = 'nothing';
const FULL = 'full';
const START_MS = 120_000;

function labText(net: number, pods: number): string {
  const crowd = `    pods: [{name: crowd, count: ${pods}, labels: {app: crowd}}]\n`;
  return `
racks: [{name: rack, ipv4: 192.168.${net}.0/24, ipv6: "fd${net}::/64"}]
clusters:
  - name: main
    id: 1
    podCIDRs: {ipv4: 10.${net}.0.0/16, ipv6: "fd${net}:1::/48", nodeLength: {ipv4: 22}}
    nodes: [{name: n1, rack: rack}]
${pods > 0 ? crowd : ''}`;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One start of the agent, in milliseconds from the call of the program. */
interface Start {
  readonly requests: number;
  readonly inStep: number;
}

async function startOf(agent: LabAgent): Promise<Start> {
  const started = performance.now();
  await agent.start();
  let requests = Number.NaN;
  while (performance.now() - started < START_MS) {
    let status: AgentStatus | undefined;
    try {
      status = (await agent.get('/v1/status')) as AgentStatus;
    } catch {
      // Not there yet: asked again.
    }
    const now = performance.now() - started;
    if (status !== undefined && Number.isNaN(requests)) requests = now;
    const healthy = status?.reconcilers.every((row) => row.healthy) ?? false;
    if (status?.ready && healthy) return { requests, inStep: now };
    await sleep(10);
  }
  throw new Error(`the agent of ${agent.node.name} is not in step after ${START_MS} ms`);
}

/** Resident memory, MiB. */
function residentOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(text)?.[1];
  if (kib === undefined) throw new Error(`process ${pid} has no resident memory: ${text}`);
  return Number(kib) / 1024;
}

/** Nanoseconds that all threads of a process have run, as the scheduler counts them. */
function ranNs(pid: number): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((task) => readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0])
    .reduce((sum, ns) => sum + Number(ns), 0);
}

async function atRest(pid: number, seconds: number): Promise<number> {
  const before = ranNs(pid);
  await sleep(seconds * 1000);
  return (100 * (ranNs(pid) - before)) / (seconds * 1e9);
}

const agentOf = (site: BenchLab): LabAgent => site.lab.agent('n1');

function pidOf(site: BenchLab): number {
  const { pid } = agentOf(site);
  if (pid === undefined) throw new Error('the agent does not run');
  return pid;
}

function ipcacheSize(site: BenchLab): number {
  const pinned = join(nodePaths(site.lab.name, 'n1').bpffs, 'causeway/maps/ipcache');
  const map = BpfMap.openPinned(pinned);
  try {
    return map.count();
  } finally {
    map.close();
  }
}

const agent: Benchmark = async ({ quick, log }) => {
  const endpoints = quick ? 20 : 250;
  const entries = quick ? 2000 : 50_000;
  const rounds = quick ? 2 : 5;
  await using empty = await benchLab('bench-agent-empty', labText(72, 0), log);
  await using full = await benchLab('bench-agent-full', labText(74, endpoints), log);
  {
    await using kv = await openStore(full.lab.cluster().etcd.socket);
    log(`${entries} entries and 1,000 identities into the store`);
    await putIdentities(kv, 'main', 1000, (index) => ({ member: String(index) }));
    await putIpEntries(kv, entries, ['192.0.2.7', '192.0.2.8', '192.0.2.9']);
  }
  while (ipcacheSize(full) < entries) await sleep(50);
  const figures: Figure[] = [];
  const measured = async (
    metric: string,
    unit: string,
    one: (site: BenchLab) => Promise<number>,
    count = rounds,
  ): Promise<void> => {
    const measure: Measure = {
      metric,
      unit,
      better: 'lower',
      reference: EMPTY,
      rounds: count,
      variants: { [EMPTY]: () => one(empty), [FULL]: () => one(full) },
    };
    figures.push(...(await compare(measure, log)));
  };

  await measured('processor time at rest', '% of a core', (site) =>
    atRest(pidOf(site), quick ? 3 : 10),
  );
  await measured('memory after running', 'MiB', async (site) => residentOf(pidOf(site)), 5);
  // A kill leaves what a crash leaves. Each start gives two figures.
  const inStep: Record<string, number[]> = { [EMPTY]: [], [FULL]: [] };
  await measured('start to taking requests', 'ms', async (site) => {
    await agentOf(site).kill('SIGKILL');
    const start = await startOf(agentOf(site));
    inStep[site === full ? FULL : EMPTY]?.push(start.inStep);
    return start.requests;
  });
  for (const [variant, all] of Object.entries(inStep)) {
    const [samples, base] = [all.slice(1), (inStep[EMPTY] ?? []).slice(1)];
    figures.push({
      metric: 'start to everything in step',
      unit: 'ms',
      better: 'lower',
      variant,
      median: median(samples),
      samples,
      reference: EMPTY,
      ratio: median(samples.map((value, round) => value / (base[round] ?? Number.NaN))),
    });
  }
  await measured('memory after a start', 'MiB', async (site) => residentOf(pidOf(site)), 5);
  const kept = ipcacheSize(full);
  const bars: Bar[] = [
    {
      what: 'entries in the kernel after the starts',
      wanted: `at least ${entries}`,
      got: String(kept),
      met: kept >= entries,
    },
  ];
  return {
    figures,
    bars,
    notes: [
      `full: ${endpoints} endpoints and ${entries} entries of 1,000 identities; starts follow a kill -9, with maps and programs in the kernel.`,
    ],
  };
};

export default agent;
