/**
 * The demonstration: brings the lab `spine-leaf` up, a fabric of real routers in which nodes announce
 * their pods by BGP, applies the manifests of examples/, and checks each
 * expectation with real traffic. Ends with a summary; the exit status is 0 when all were met.
 * `--keep` leaves the lab running.
 */
import { parseArgs } from 'node:util';
import { destroyLab, type Lab, LabError, labNames, upLab } from '@causeway/lab';
import { backendsComeAndGo, podsReachPods, podsReachTheWorld, services } from './demo/acts.ts';
import { whatWasDropped } from './demo/drops.ts';
import {
  askTheSpeaker,
  rackSwitchDies,
  restartAgentsAndSpeakers,
  routesInRouters,
} from './demo/fabric.ts';
import { measure } from './demo/measure.ts';
import { auditFirst, protectedDatabase, recipes, shopPolicy } from './demo/policy.ts';
import { Report } from './demo/report.ts';
import { killAgents } from './demo/restart.ts';
import { Site } from './demo/site.ts';

const ACTS = [
  routesInRouters,
  askTheSpeaker,
  podsReachPods,
  podsReachTheWorld,
  services,
  backendsComeAndGo,
  protectedDatabase,
  shopPolicy,
  recipes,
  auditFirst,
  whatWasDropped,
  killAgents,
  restartAgentsAndSpeakers,
  rackSwitchDies,
  measure,
];

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const { values } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
const name = labNames().includes('demo') ? `demo-${process.pid}` : 'demo';
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () =>
    stop.abort(new LabError('command-failed', `interrupted by ${signal}`)),
  );

let lab: Lab | undefined;
try {
  say(
    'Bringing up one cluster in a spine-leaf fabric: four nodes on two racks, two switches a rack, two spines, dual stack',
  );
  lab = await upLab('spine-leaf', {
    name,
    progress: (line) => say(`  ${line}`),
    signal: stop.signal,
  });
  const report = new Report(say);
  const site = new Site(lab, report);
  for (const act of ACTS) {
    stop.signal.throwIfAborted();
    try {
      await act(site);
    } catch (error) {
      report.check(`act ${act.name} could be played to its end`, false, (error as Error).message);
    }
  }
  process.exitCode = report.summary() ? 0 : 1;
} catch (error) {
  process.exitCode = 1;
  say(`demo: ${(error as Error).message}`);
  if (error instanceof LabError && error.hint !== undefined) say(`  ${error.hint}`);
} finally {
  await lab?.[Symbol.asyncDispose]();
  if (lab !== undefined && values.keep) lookAround(name);
  else if (lab !== undefined) await destroyLab(name, { force: true });
}

function lookAround(lab: string): void {
  say('');
  say(`The lab stays up. To look around (causeway stands in packages/cli/bin):
  causeway lab places ${lab}
  causeway lab exec ${lab}/main/default/employee -- sh
  export CAUSEWAY_CONTEXT=lab:${lab}/main
  causeway status; causeway get pods -A -o wide; causeway service list
  causeway drops; causeway monitor --type drop,verdict
  causeway bgp peers; causeway bgp why 0.0.0.0/0; causeway bfd sessions
  causeway lab status ${lab}; causeway lab exec ${lab}/spine-2 -- vtysh -c 'show ip route'
  causeway lab router ${lab}/leaf-a1 off; causeway lab freeze ${lab}/b1
  causeway policy trace --from default/visitor --to default/protected-db --port 6379
  causeway lab down ${lab}`);
}
