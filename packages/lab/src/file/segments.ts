import type { LabRack } from './schema.ts';

/**
 * The rack whose prefixes are in force on a rack: itself, or the uppermost one that it is cabled to.
 * Undefined when a name is no rack, or uplinks go in a circle.
 */
export function segmentOf(racks: readonly LabRack[], name: string): LabRack | undefined {
  let here = racks.find((rack) => rack.name === name);
  for (let step = 0; here?.uplink !== undefined; step++) {
    if (step > racks.length) return undefined;
    const above: string = here.uplink;
    here = racks.find((rack) => rack.name === above);
  }
  return here;
}
