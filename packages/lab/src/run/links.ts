import { ipBatch } from '../build/topology.ts';
import { LabError } from '../errors.ts';
import { netnsName } from '../host/names.ts';
import type { LabContext } from './context.ts';

/** Takes a place's device up or down from its own side. */
export async function setDevice(
  context: LabContext,
  place: string,
  device: string,
  state: 'up' | 'down',
): Promise<void> {
  const plan = context.state.plan.places.find((candidate) => candidate.place === place);
  const known = plan?.devices.map((each) => each.name) ?? [];
  if (!known.includes(device))
    throw new LabError(
      'place-unknown',
      `${place} has no device ${device}; it has ${known.join(', ') || '(none)'}`,
      {
        value: device,
      },
    );
  await ipBatch([`link set ${device} ${state}`], netnsName(context.names, place));
}

/**
 * Takes the far end of a place's cable up or down: the place loses or gets its carrier and keeps its
 * addresses and routes, as when a cable is pulled.
 */
export async function setCable(
  context: LabContext,
  place: string,
  device: string,
  state: 'up' | 'down',
): Promise<void> {
  for (const { a, b } of context.state.plan.cables) {
    const far =
      a.place === place && a.device === device
        ? b
        : b.place === place && b.device === device
          ? a
          : undefined;
    if (far !== undefined) return setDevice(context, far.place, far.device, state);
  }
  throw new LabError('place-unknown', `${place} has no cable at ${device}`, {
    value: { place, device },
  });
}

/** Takes the rack's ports of a machine's cables out of the bridge, or puts them back. */
export async function setFrozen(
  context: LabContext,
  place: string,
  frozen: boolean,
): Promise<void> {
  const { places, cables } = context.state.plan;
  const racks = new Set(places.filter(({ kind }) => kind === 'rack').map((each) => each.place));
  const ports = cables
    .filter(({ a, b }) => a.place === place && racks.has(b.place))
    .map(({ b }) => b);
  if (ports.length === 0)
    throw new LabError('place-unknown', `${place} has no cable to a rack`, { value: place });
  for (const port of ports)
    await ipBatch(
      [`link set ${port.device} ${frozen ? 'nomaster' : 'master br0'}`],
      netnsName(context.names, port.place),
    );
}
