import { Address } from '@causeway/ip';
import { dutyOf } from '../claims/duty.ts';
import {
  announceClaim,
  type ClaimWish,
  expireClaim,
  isBehind,
  releaseClaim,
  standbyClaim,
  switchClaim,
  takeClaim,
  withdrawnClaim,
} from '../claims/steps.ts';
import type { Claim, ClaimStep } from '../claims/types.ts';
import { Violation } from './host.ts';
import type { Step } from './search.ts';
import { same } from './state.ts';

/*
 * The small world of one fixed address: its record, nodes whose agents read it late and write it by compare-and-swap,
 * their speakers, pods of the owner and of another who wants the same address, and the leader that ends unused claims
 * after a time that may be over at once. Node 0 holds the CIDR of the address.
 */

export interface ClaimHost {
  view: Claim | null;
  fresh: boolean;
  /** The container that has the address here. */
  endpoint: { holder: string; active: boolean } | null;
  /** Containers that are gone, which the record may not know yet. */
  gone: string[];
  wants: boolean;
  announced: boolean;
}

export interface ClaimState {
  claim: Claim | null;
  hosts: ClaimHost[];
  /** What the leader has seen lie unused. */
  seen: { epoch: number; releasedAt: number | null } | null;
  pods: number;
  left: { pods: number; others: number; switches: number };
}

export type ClaimFault =
  | 'no-compare'
  | 'withdraw-at-once'
  | 'tell-before-announced'
  | 'expire-unchecked'
  | 'run-on';

const ADDRESS = Address.parse('10.0.0.5');
const name = (index: number): string => `n${index}`;
const covers = (index: number): boolean => index === 0;

export function firstClaimState(nodes: number, left: ClaimState['left']): ClaimState {
  const host = {
    view: null,
    fresh: true,
    endpoint: null,
    gone: [],
    wants: false,
    announced: false,
  };
  return {
    claim: null,
    hosts: Array.from({ length: nodes }, () => host),
    seen: null,
    pods: 0,
    left,
  };
}

export const claimKeyOf = (state: ClaimState): string => JSON.stringify(state);
export const claimStateOf = (key: string): ClaimState => JSON.parse(key) as ClaimState;
export const copyOfClaims = ({ hosts, left, ...rest }: ClaimState): ClaimState => ({
  ...rest,
  hosts: hosts.map((host) => ({ ...host })),
  left: { ...left },
});

function wishOf(holder: string): ClaimWish {
  const pod = holder.startsWith('other') ? 'db-1' : 'db-0';
  return {
    address: ADDRESS,
    owner: { type: 'pod', namespace: 'shop', pod },
    partner: null,
    home: name(0),
    ttlSeconds: 60,
    reservation: null,
  };
}

/** Writes what a step says if the record is still as the host has read it. False if nothing came of it. */
function swap(state: ClaimState, host: ClaimHost, step: ClaimStep, fault?: ClaimFault): boolean {
  if (!host.fresh && fault !== 'no-compare') return false;
  if (step.type !== 'write') return false;
  state.claim = step.claim;
  for (const one of state.hosts) one.fresh = false;
  host.view = step.claim;
  host.fresh = true;
  return true;
}

/** What programs do by themselves, soon. */
export function claimWork(state: ClaimState, fault?: ClaimFault): Step<ClaimState>[] {
  const steps: Step<ClaimState>[] = [];
  for (const index of state.hosts.keys()) {
    const mine = (next: ClaimState) => next.hosts[index] as ClaimHost;
    const add = (what: string, run: (next: ClaimState, host: ClaimHost) => boolean) =>
      steps.push({ name: `${name(index)} ${what}`, run: (next) => run(next, mine(next)) });
    add('reads', (next, host) => {
      if (host.fresh) return false;
      host.view = next.claim;
      host.fresh = true;
      return true;
    });
    add('lives', (_, host) => live(host, index, fault));
    add('speaks', (_, host) => {
      const changed = host.announced !== host.wants;
      host.announced = host.wants;
      return changed;
    });
    add('tells', (next, host) => {
      const { view, endpoint } = host;
      const told = (host.wants && host.announced) || fault === 'tell-before-announced';
      const routed = covers(index) || told;
      if (view === null || !routed || endpoint?.active !== true) return false;
      return swap(next, host, announceClaim(view, name(index), view.epoch), fault);
    });
    add('has withdrawn', (next, host) => {
      if (host.view === null || host.announced || host.wants || host.endpoint?.active) return false;
      return swap(next, host, withdrawnClaim(host.view, name(index)), fault);
    });
    add('releases', (next, host) => {
      const [holder] = host.gone;
      if (holder === undefined || !host.fresh) return false;
      if (host.view !== null) {
        swap(next, host, releaseClaim(host.view, { node: name(index), holder }, 1), fault);
      }
      host.gone = host.gone.slice(1);
      return true;
    });
  }
  return steps;
}

/** The agent does its duty as far as it knows. */
function live(host: ClaimHost, index: number, fault?: ClaimFault): boolean {
  const before = { ...host };
  const { view, endpoint } = host;
  const duty = view === null ? undefined : dutyOf(view, name(index), covers(index));
  const mine = endpoint !== null && duty !== undefined && duty.holder === endpoint.holder;
  if (endpoint !== null && !mine && fault !== 'run-on') host.endpoint = null;
  else if (endpoint !== null && mine) {
    host.endpoint = { ...endpoint, active: duty.endpoint === 'active' };
  }
  host.wants = duty?.announce ?? false;
  if (fault === 'withdraw-at-once' && view?.at !== name(index)) host.wants = false;
  return !same(before, host);
}

/** Pods that come and go, hand-overs, and time. */
export function claimSteps(state: ClaimState, fault?: ClaimFault): Step<ClaimState>[] {
  const steps = claimWork(state, fault);
  const { claim, left, seen } = state;
  for (const [index, host] of state.hosts.entries()) {
    const mine = (next: ClaimState) => next.hosts[index] as ClaimHost;
    const place = (holder: string) => ({ node: name(index), holder });
    const start = (kind: 'pods' | 'others', silent: boolean) => (next: ClaimState) => {
      const here = mine(next);
      next.left[kind] -= 1;
      next.pods += 1;
      const holder = `${kind === 'others' ? 'other' : 'pod'}-${next.pods}`;
      const view = here.view ?? undefined;
      const step = silent
        ? standbyClaim(view, wishOf(holder).owner, place(holder))
        : takeClaim(view, wishOf(holder), place(holder));
      if (!swap(next, here, step, fault)) return false;
      here.endpoint = { holder, active: !silent };
      return true;
    };
    for (const kind of ['pods', 'others'] as const) {
      if (left[kind] === 0 || host.endpoint !== null) continue;
      steps.push({ name: `a pod (${kind}) starts on ${name(index)}`, run: start(kind, false) });
      if (kind === 'others' || left.switches === 0) continue;
      steps.push({ name: `a second pod starts on ${name(index)}`, run: start(kind, true) });
    }
    if (host.endpoint !== null) {
      steps.push({
        name: `the pod on ${name(index)} ends`,
        run: (next) => {
          const here = mine(next);
          here.gone = [...here.gone, here.endpoint?.holder ?? ''];
          here.endpoint = null;
          return true;
        },
      });
    }
    if (left.switches > 0 && host.endpoint !== null && host.view !== null) {
      const { view } = host;
      steps.push({
        name: `the address is switched to ${name(index)}`,
        run: (next) => {
          next.left.switches -= 1;
          return swap(next, mine(next), switchClaim(view, name(index)), fault);
        },
      });
    }
  }
  if (claim !== null && claim.holder === null) {
    const { epoch, releasedAt } = claim;
    steps.push({
      name: 'the leader sees it unused',
      run: (next) => {
        const changed = !same(next.seen, { epoch, releasedAt });
        next.seen = { epoch, releasedAt };
        return changed;
      },
    });
  }
  if (claim !== null && seen !== null) {
    steps.push({
      name: 'its time is over',
      run: (next) => {
        const step = expireClaim(claim, seen.epoch, seen.releasedAt);
        if (step.type !== 'delete' && fault !== 'expire-unchecked') return false;
        next.claim = null;
        next.seen = null;
        for (const host of next.hosts) host.fresh = false;
        return true;
      },
    });
  }
  return steps;
}

/** What must never be. Throws Violation. */
export function checkClaims({ claim, hosts }: ClaimState): void {
  const active = hosts.flatMap(({ endpoint, fresh }, index) =>
    endpoint?.active === true ? [{ holder: endpoint.holder, index, fresh }] : [],
  );
  for (const { holder, index, fresh } of active) {
    // Not even a node that has heard nothing for long runs an address that can be another's.
    if (claim === null) throw new Violation(`the claim of ${holder} has ended under it`);
    const [one, other] = [holder, claim.holder ?? holder].map((text) => text.startsWith('other'));
    if (one !== other) throw new Violation(`${holder} and ${claim.holder} have one address`);
    const told = claim.at === name(index) && claim.holder === holder;
    if (fresh && !told && !isBehind(claim, name(index)) && claim.standby?.node !== name(index)) {
      throw new Violation(`${name(index)} runs the address of ${claim.at}, who does not know`);
    }
  }
  if (claim === null || claim.holder === null) return;
  const routed = (node: string | null) => {
    const index = hosts.findIndex((_, at) => name(at) === node);
    return hosts[index]?.announced === true || covers(index);
  };
  if (claim.announced && !routed(claim.at)) {
    throw new Violation(`${claim.at} is said to announce the address and does not`);
  }
  if (!claim.announced && claim.from !== null && !routed(claim.from)) {
    throw new Violation(`${claim.from} withdrew before ${claim.at} announced`);
  }
}

/** Undisturbed, one endpoint has the address, its node alone announces it, and no step is left to do. */
export function settleClaims(from: ClaimState, fault?: ClaimFault): void {
  const state = copyOfClaims(from);
  for (let round = 0; ; round += 1) {
    let changed = false;
    for (const step of claimWork(state, fault)) changed = step.run(state) || changed;
    checkClaims(state);
    if (!changed) break;
    if (round === 20) throw new Violation('the agents do not come to rest');
  }
  const { claim, hosts } = state;
  const at = claim?.holder === null ? undefined : claim?.at;
  for (const [index, { endpoint, announced }] of hosts.entries()) {
    const here = at === name(index);
    if ((endpoint?.active === true) !== here) {
      throw new Violation(
        `at rest the address is at ${at ?? 'no node'}, and ${name(index)} differs`,
      );
    }
    if (announced !== (here && !covers(index))) {
      throw new Violation(`at rest ${name(index)} announces: ${announced}`);
    }
  }
  if (at !== undefined && (claim?.announced !== true || claim.behind.length > 0)) {
    throw new Violation('at rest the move is not finished');
  }
}
