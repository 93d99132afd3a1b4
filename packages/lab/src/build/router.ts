import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { routerPaths } from '../host/names.ts';
import { must } from '../host/process.ts';
import type { RouterPlan } from '../plan/types.ts';
import { routerDaemons } from '../routers/daemons.ts';

/** Makes a router's directories and writes its daemons' configuration. */
export async function buildRouter(lab: string, plan: RouterPlan): Promise<void> {
  const daemon = routerDaemons[plan.daemon];
  const { directory, run, config } = routerPaths(lab, plan.name);
  // The last ones are only places to mount on, in each router's own mount namespace.
  for (const path of [run, config, '/run/bird', '/run/frr', '/etc/frr'])
    mkdirSync(path, { recursive: true });
  for (const [file, text] of Object.entries(daemon.config(plan)))
    writeFileSync(join(config, file), text);
  if (daemon.owner !== undefined) await must(['chown', '-R', `${daemon.owner}:`, directory]);
}
