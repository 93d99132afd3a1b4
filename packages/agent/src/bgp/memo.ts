import type { CiliumBGPAdvertisement } from '@causeway/resources';
import type { Candidate } from './candidates.ts';
import type { ServiceView } from './inputs.ts';
import type { Announcement } from './plan.ts';
import { type Rule, rulesOf } from './rules.ts';
import type { OriginatedPath } from './speaker-port.ts';

/**
 * What one plan can take over from the last: a pod that becomes ready changes one service of ten thousand. It holds
 * nothing that would not come out the same again.
 */
export class PlanMemo {
  #advertisements: readonly CiliumBGPAdvertisement[] = [];
  #rules: ReadonlyMap<string, Rule> = new Map();
  readonly #services = new WeakMap<
    ServiceView,
    { readonly rules: ReadonlyMap<string, Rule>; readonly candidates: readonly Candidate[] }
  >();
  readonly #rows = new WeakMap<Candidate, { readonly of: string; readonly row: Announcement }>();
  #paths: ReadonlyMap<string, OriginatedPath> = new Map();

  /** The same map for the same objects. */
  rules(advertisements: readonly CiliumBGPAdvertisement[]): ReadonlyMap<string, Rule> {
    const same =
      advertisements.length === this.#advertisements.length &&
      advertisements.every((each, index) => each === this.#advertisements[index]);
    if (!same) {
      this.#advertisements = advertisements;
      this.#rules = rulesOf(advertisements);
    }
    return this.#rules;
  }

  candidates(
    service: ServiceView,
    rules: ReadonlyMap<string, Rule>,
    make: () => readonly Candidate[],
  ): readonly Candidate[] {
    const known = this.#services.get(service);
    if (known?.rules === rules) return known.candidates;
    const candidates = make();
    this.#services.set(service, { rules, candidates });
    return candidates;
  }

  /** @param of all that the row depends on beside the candidate. */
  row(candidate: Candidate, of: string, make: () => Announcement): Announcement {
    const known = this.#rows.get(candidate);
    if (known?.of === of) return known.row;
    const row = make();
    this.#rows.set(candidate, { of, row });
    return row;
  }

  paths(wanted: Iterable<OriginatedPath>): OriginatedPath[] {
    const paths = new Map<string, OriginatedPath>();
    for (const path of wanted) {
      const known = this.#paths.get(path.prefix);
      paths.set(path.prefix, known?.tag === path.tag ? known! : path);
    }
    this.#paths = paths;
    return [...paths.values()];
  }
}
