import fs from 'node:fs';
import path from 'node:path';
import { codeOf, lockNetwork, lockRunDirectory, messageWithCauses } from '@causeway/daemon';
import { detachFilters } from '@causeway/datapath';
import {
  BpfLink,
  causewayProtocol,
  isBpffs,
  RtSocket,
  request,
  speakerProtocol,
  unmount,
  unpin,
} from '@causeway/linux';
import { SpeakerClient } from './bgp/speaker-client.ts';
import { loadAgentConfig } from './config/load.ts';
import type { AgentConfig } from './config/schema.ts';
import { parseAlias } from './endpoints/alias.ts';
import { LinuxEndpointKernel } from './endpoints/linux-kernel.ts';
import { DEVICE_ALIAS } from './host/link-reconciler.ts';
import { outlivingPlaces } from './state-place.ts';

/** What was taken away, by kind, and what would not go. */
export interface CleanupReport {
  readonly programs: readonly string[];
  readonly maps: readonly string[];
  readonly devices: readonly string[];
  readonly routes: number;
  readonly files: readonly string[];
  readonly failures: readonly string[];
}

/**
 * Takes everything of Causeway off this node: programs, maps, devices, routes and what it keeps.
 * Pods lose their network. Idempotent; what will not go is reported and the rest goes on.
 * @throws DaemonError `already-running` while an agent serves the node.
 */
export async function cleanupNode(config: string | AgentConfig): Promise<CleanupReport> {
  const settings = typeof config === 'string' ? loadAgentConfig(config) : config;
  const failures: string[] = [];
  const attempt = async (what: string, work: () => unknown): Promise<boolean> => {
    try {
      return (await work()) !== false;
    } catch (error) {
      failures.push(`${what}: ${messageWithCauses(error)}`);
      return false;
    }
  };
  using _lock = lockRunDirectory(settings.runDir, 'agent');
  await using _network = await lockNetwork('agent');
  // What the network sends here must go elsewhere before it is not served here any more.
  if (settings.bgp.enabled) await attempt('announcements', () => takeBack(settings));
  // Then programs, so that no packet meets one without its maps.
  const programs = await removePins(path.join(settings.bpffs, 'links'), attempt, detach);
  const maps = await removePins(path.join(settings.bpffs, 'maps'), attempt, unpin);
  await attempt('bpffs', () => removeBpffs(settings.bpffs));

  using socket = RtSocket.open();
  using kernel = new LinuxEndpointKernel();
  let routes = 0;
  const ours = [causewayProtocol, speakerProtocol].flatMap((protocol) =>
    socket.routes({ protocol }),
  );
  for (const route of ours) {
    const { destination, ifindex, metric, ...rest } = route;
    const gone = await attempt('route', () =>
      socket.apply(
        request.deleteRoute({
          family: rest.family,
          prefixLength: rest.prefixLength,
          table: rest.table,
          protocol: rest.protocol,
          ...(destination === undefined ? {} : { destination }),
          ...(ifindex === undefined ? {} : { ifindex }),
          ...(metric === undefined ? {} : { metric }),
        }),
      ),
    );
    if (gone) routes++;
  }
  // Filters have no pins; where the programs stood as links this finds nothing.
  for (const { index, name } of socket.links()) {
    const gone = await attempt(`filters of ${name}`, () => detachFilters(index));
    if (gone) programs.push(`${name} (filters)`);
  }
  const own = socket
    .links()
    .filter(({ alias }) => alias === DEVICE_ALIAS || parseAlias(alias) !== undefined);
  const devices: string[] = [];
  await Promise.all(
    own.map(async ({ name }) => {
      if (await attempt(`device ${name}`, () => kernel.removeInterface(name))) devices.push(name);
    }),
  );

  const files: string[] = [];
  const run = ['state', 'deletions', 'agent.sock'].map((name) => path.join(settings.runDir, name));
  for (const file of [...run, ...outlivingPlaces(settings)]) {
    if (!fs.existsSync(file)) continue;
    if (await attempt(file, () => fs.rmSync(file, { recursive: true, force: true })))
      files.push(file);
  }
  return { programs, maps, devices: devices.sort(), routes, files, failures };
}

/** Without a speaker nothing is announced. */
async function takeBack({ bgp, runDir }: AgentConfig): Promise<void> {
  try {
    await new SpeakerClient(bgp.socket ?? path.join(runDir, 'speaker.sock')).forget();
  } catch (error) {
    if (codeOf(error) !== 'unreachable') throw error;
  }
}

async function removePins(
  directory: string,
  attempt: (what: string, work: () => unknown) => Promise<boolean>,
  remove: (pin: string) => unknown,
): Promise<string[]> {
  if (!fs.existsSync(directory)) return [];
  const removed: string[] = [];
  for (const name of fs.readdirSync(directory)) {
    const pin = path.join(directory, name);
    if (await attempt(pin, () => remove(pin))) removed.push(name);
  }
  return removed;
}

function detach(pin: string): void {
  using link = BpfLink.openPinned(pin);
  unpin(pin);
  const { type, ifindex } = link.info();
  // A device that is gone has let go of its programs already.
  if (type !== 'tcx' || ifindex !== 0) link.detach();
}

/** Removes our directories; the mount goes where it is ours alone. */
function removeBpffs(root: string): void {
  if (!fs.existsSync(root)) return;
  for (const name of ['links', 'maps', 'progs']) {
    const directory = path.join(root, name);
    if (fs.existsSync(directory)) fs.rmdirSync(directory);
  }
  const parent = path.dirname(root);
  if (isBpffs(root) && !isBpffs(parent)) unmount(root);
  if (fs.existsSync(root)) fs.rmdirSync(root);
}
