import { buildTopology } from '../src/build/topology.ts';
import { parseLabFile } from '../src/file/parse.ts';
import { cgroupRoot, makeCgroup } from '../src/host/cgroup.ts';
import { labCgroup } from '../src/host/names.ts';
import { markOfThisProcess } from '../src/host/process.ts';
import { Lab } from '../src/lab.ts';
import { planLab } from '../src/plan/plan.ts';
import { newStateVersion, writeState } from '../src/state.ts';

/** A lab of which the networks stand and nothing runs yet: what a test wants of the rest, it starts. */
export async function topologyLab(name: string, file: string): Promise<Lab> {
  const plan = planLab(parseLabFile(file, 'test.yaml'));
  const state = {
    version: newStateVersion(),
    name,
    run: process.pid,
    phase: 'up',
    source: 'test.yaml',
    builder: markOfThisProcess(),
    cgroupRoot: cgroupRoot(),
    createdAt: new Date(0).toISOString(),
    plan,
    pods: [],
  } as const;
  writeState(state);
  const lab = new Lab(state);
  makeCgroup(labCgroup(state.cgroupRoot, lab.context.names));
  await buildTopology(lab.context.names, plan);
  return lab;
}
