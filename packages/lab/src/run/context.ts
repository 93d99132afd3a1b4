import { LabError } from '../errors.ts';
import { makeCgroup } from '../host/cgroup.ts';
import type { PlaceKind } from '../host/enter.ts';
import { enterNode, enterOperator, enterPlain, enterRouter, placeCgroup } from '../host/enter.ts';
import type { LabNames } from '../host/names.ts';
import type { LabState } from '../state.ts';

/** A place that commands can be run in. */
export interface Place {
  readonly kind: PlaceKind;
  readonly place: string;
  /** For pods, the node they run on. */
  readonly node?: string;
}

/** The names of one run of a lab and its places: what every part of the lab works from. */
export class LabContext {
  state: LabState;

  constructor(state: LabState) {
    this.state = state;
  }

  get names(): LabNames {
    return { lab: this.state.name, run: this.state.run };
  }

  places(): Place[] {
    return [
      ...this.state.plan.places.map(({ kind, place }) => ({ kind, place })),
      ...this.state.pods.map(
        (pod): Place => ({ kind: 'pod', place: podPlace(pod), node: pod.node }),
      ),
    ];
  }

  /** Throws `place-unknown` with the places there are. */
  find(place: string): Place {
    const found = this.places().find((candidate) => candidate.place === place);
    if (found !== undefined) return found;
    const known = this.places().map((candidate) => candidate.place);
    throw new LabError(
      'place-unknown',
      `lab ${this.state.name} has no place ${place}; it has ${known.join(', ')}`,
      {
        value: place,
        hint: 'a place is a router, a rack, a node, an outside host, CLUSTER/etcd, CLUSTER/operator-N, CLUSTER/inventory-N or CLUSTER/NAMESPACE/POD',
      },
    );
  }

  cgroup(place: Place): string {
    return placeCgroup(this.state.cgroupRoot, this.names, place);
  }

  /** What to put before a command so that it runs in the place: its namespaces and its cgroup. */
  prefix(place: Place): string[] {
    const cgroup = this.cgroup(place);
    makeCgroup(cgroup);
    if (place.kind === 'node') return enterNode(this.names, place.place, cgroup);
    if (place.kind === 'operator' || place.kind === 'inventory')
      return enterOperator(this.names, place.place, cgroup);
    const runsDaemon = this.state.plan.routers.some(({ name }) => name === place.place);
    const enter = place.kind === 'router' && runsDaemon ? enterRouter : enterPlain;
    return enter(this.names, place.place, cgroup);
  }
}

export function podPlace(pod: {
  readonly cluster: string;
  readonly namespace: string;
  readonly name: string;
}): string {
  return `${pod.cluster}/${pod.namespace}/${pod.name}`;
}
