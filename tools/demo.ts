/**
 * The demonstration, on two labs one after the other. `two-clusters`: two clusters with a store each on a fabric of
 * real routers, to which nodes announce their pods by BGP; a service of both, policies between them, machines outside
 * of both; the manifests of examples/ are applied and each expectation is checked with real traffic. `edge`: operators
 * give nodes their addresses, pods take theirs along, and four edge nodes carry what comes from outside. Ends with a
 * summary; the exit status is 0 when all expectations were met. `--keep` leaves both labs running.
 */
import { parseArgs } from 'node:util';
import { destroyLab, type Lab, LabError, labNames, upLab } from '@causeway/lab';
import { backendsComeAndGo, podsReachPods, podsReachTheWorld, services } from './demo/acts.ts';
import { whatWasDropped } from './demo/drops.ts';
import { edgeNodeDies, nodeRunsOut, podMoves } from './demo/edge.ts';
import {
  askTheSpeaker,
  rackSwitchDies,
  restartAgentsAndSpeakers,
  routesInRouters,
} from './demo/fabric.ts';
import { measure } from './demo/measure.ts';
import {
  backendsOfOneClusterGo,
  clustersMeet,
  globalService,
  storeOfOneClusterDies,
  xWing,
} from './demo/mesh.ts';
import { outsideMachines, serverWithAgent } from './demo/outside.ts';
import { auditFirst, protectedDatabase, recipes, shopPolicy } from './demo/policy.ts';
import { Report } from './demo/report.ts';
import { killAgents } from './demo/restart.ts';
import { Site } from './demo/site.ts';

interface Play {
  readonly shipped: string;
  /** The running lab's name, unless one of it is up already. */
  readonly name: string;
  readonly scene: string;
  readonly acts: readonly ((site: Site) => Promise<void>)[];
}

const PLAYS: readonly Play[] = [
  {
    shipped: 'two-clusters',
    name: 'demo',
    scene:
      'Bringing up two clusters in a spine-leaf fabric: two nodes and a store each, two switches a rack, two spines, dual stack',
    acts: [
      routesInRouters,
      askTheSpeaker,
      clustersMeet,
      podsReachPods,
      globalService,
      backendsOfOneClusterGo,
      storeOfOneClusterDies,
      xWing,
      podsReachTheWorld,
      services,
      backendsComeAndGo,
      protectedDatabase,
      outsideMachines,
      serverWithAgent,
      shopPolicy,
      recipes,
      auditFirst,
      whatWasDropped,
      killAgents,
      restartAgentsAndSpeakers,
      rackSwitchDies,
      measure,
    ],
  },
  {
    shipped: 'edge',
    name: 'demo-edge',
    scene:
      'Bringing up another: two operators, four edge nodes and two workers behind two rack switches, clients outside',
    acts: [nodeRunsOut, podMoves, edgeNodeDies],
  },
];

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const { values } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () =>
    stop.abort(new LabError('command-failed', `interrupted by ${signal}`)),
  );

const report = new Report(say);
const kept: string[] = [];
try {
  for (const one of PLAYS) await play(one);
  process.exitCode = report.summary() ? 0 : 1;
} catch (error) {
  process.exitCode = 1;
  say(`demo: ${(error as Error).message}`);
  if (error instanceof LabError && error.hint !== undefined) say(`  ${error.hint}`);
}
if (kept.length > 0) lookAround(kept);

async function play({ shipped, name: wanted, scene, acts }: Play): Promise<void> {
  const name = labNames().includes(wanted) ? `${wanted}-${process.pid}` : wanted;
  let lab: Lab | undefined;
  try {
    report.section(scene);
    const progress = (line: string): void => say(`  ${line}`);
    lab = await upLab(shipped, { name, progress, signal: stop.signal });
    const site = new Site(lab, report);
    for (const act of acts) {
      stop.signal.throwIfAborted();
      try {
        await act(site);
      } catch (error) {
        report.check(`act ${act.name} could be played to its end`, false, (error as Error).message);
      }
    }
  } finally {
    await lab?.[Symbol.asyncDispose]();
    if (lab !== undefined && values.keep) kept.push(name);
    else if (lab !== undefined) await destroyLab(name, { force: true });
  }
}

function lookAround(labs: readonly string[]): void {
  const [lab = '', edge = ''] = labs;
  say('');
  say(`The labs stay up. To look around (causeway stands in packages/cli/bin):
  causeway lab places ${lab}
  causeway lab exec ${lab}/cluster1/default/employee -- sh
  export CAUSEWAY_CONTEXT=lab:${lab}/cluster1
  causeway mesh status; causeway mesh why cluster2; causeway lab etcd ${lab}/cluster2 kill
  causeway lab partition ${lab}/cluster1 cut cluster2
  causeway status; causeway get pods -A -o wide; causeway service list
  causeway drops; causeway monitor --type drop,verdict
  causeway bgp peers; causeway bgp why 0.0.0.0/0; causeway bfd sessions
  causeway lab status ${lab}; causeway lab exec ${lab}/spine-2 -- vtysh -c 'show ip route'
  causeway lab router ${lab}/leaf-a1 off; causeway lab freeze ${lab}/b1
  causeway policy trace --from default/visitor --to default/protected-db --port 6379
  causeway --context lab:${edge}/main ipam pools; causeway --context lab:${edge}/main ipam claims
  causeway lab down ${lab}; causeway lab down ${edge}`);
}
