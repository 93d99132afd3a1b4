import { type Address, Prefix } from '@causeway/ip';
import {
  add,
  live,
  remove,
  rest,
  restart,
  speak,
  syncClaims,
  syncObject,
  Violation,
  write,
} from './host.ts';
import { commit, elect, force, planOf, watch } from './operator.ts';
import { copyOf, idle, overlaps, putNode, type State, sorted, type World } from './state.ts';

/** One thing that can happen. It changes the state it is given; false if nothing came of it. */
export interface Action {
  readonly name: string;
  readonly run: (state: State) => boolean;
}

const always = (run: (state: State) => void) => (state: State) => {
  run(state);
  return true;
};

/** Everything that can happen next: programs that do their work, in any order, and disturbances while they last. */
export function actionsOf(world: World, state: State): Action[] {
  return [...work(world, state), ...disturbances(world, state)];
}

/** What programs do by themselves, soon. */
export function work(world: World, state: State): Action[] {
  const actions: Action[] = [];
  const leads = state.ops.some(({ term }) => term === 'leading');
  for (const [index, op] of state.ops.entries()) {
    if (op.term === 'idle') {
      if (!leads) {
        actions.push({
          name: `o${index} leads`,
          run: (next) => {
            if (next.ops.some(({ term }) => term === 'leading')) return false;
            elect(world, next, index);
            return true;
          },
        });
      }
      continue;
    }
    actions.push({
      name: `o${index} watches`,
      run: (next) => watch(next, next.ops[index] as State['ops'][number]),
    });
    for (const decision of planOf(world, op)) {
      actions.push({
        name: `o${index} ${decision.type}s ${decision.cidr} ${decision.node}`,
        run: (next) => commit(world, next, next.ops[index] as State['ops'][number], decision),
      });
    }
    if (op.term === 'deposed') {
      actions.push({
        name: `o${index} knows`,
        run: always((next) => {
          next.ops[index] = idle();
        }),
      });
    }
  }
  for (const index of state.hosts.keys()) {
    const host = (next: State) => next.hosts[index] as State['hosts'][number];
    actions.push(
      { name: `n${index} reads`, run: (next) => syncObject(next, index) },
      { name: `n${index} reads claims`, run: (next) => syncClaims(next, index) },
      { name: `n${index} lives`, run: (next) => live(world, next, index) },
      { name: `n${index} speaks`, run: (next) => speak(host(next)) },
      { name: `n${index} writes`, run: (next) => write(next, index) },
      { name: `n${index} rests`, run: (next) => rest(next, index) },
    );
  }
  return actions;
}

/** Pods that come and go, faults and what people do, each as often as `left` says. */
function disturbances(world: World, state: State): Action[] {
  const actions: Action[] = [];
  const { left } = state;
  const some = (
    what: keyof State['left'],
    name: string,
    run: (state: State) => boolean | undefined,
  ) => {
    if (left[what] === 0) return;
    actions.push({
      name,
      run: (next) => {
        next.left[what] -= 1;
        return run(next) !== false;
      },
    });
  };
  for (const [index, op] of state.ops.entries()) {
    if (op.term !== 'leading') continue;
    const set = (term: 'deposed' | 'idle') => (next: State) => {
      next.ops[index] = term === 'idle' ? idle() : { ...op, term };
      return true;
    };
    some('depose', `o${index} is deposed`, set('deposed'));
    some('crash', `o${index} crashes`, set('idle'));
    for (const node of state.hosts.keys()) {
      some('force', `o${index} forces n${node}`, (next) => {
        const leader = next.ops[index] as State['ops'][number];
        // A transaction, as every other: it loses where the view of the node is old.
        if (leader.nodes[node]?.fresh !== true) return false;
        force(world, next, leader, node);
        return true;
      });
    }
  }
  some('close', 'a range is closed', (next) => {
    if (next.store.closed.length > 0) return false;
    next.store.closed = [Prefix.subnetAt(world.range, world.common, 0)];
    return true;
  });
  for (const [index, host] of state.hosts.entries()) {
    const mine = (next: State) => next.hosts[index] as State['hosts'][number];
    some('pods', `n${index} starts a pod`, (next) => add(world, next, index) !== undefined);
    for (const pod of host.pods) {
      actions.push({ name: `${pod} ends`, run: always((next) => remove(next, index, pod)) });
      some('claim', `${pod} is claimed`, (next) => {
        if (next.store.claims.includes(pod)) return false;
        // The transaction holds only while the block's record names the node, whatever the node has heard.
        const given = ([cidr, node]: State['store']['records'][number]) =>
          node === index && Prefix.contains(cidr, pod as Address);
        if (!next.store.records.some(given) && world.fault !== 'claim-unrecorded') return false;
        next.store.claims = sorted([...next.store.claims, pod]);
        for (const one of next.hosts) one.claimsKnown = one.claimsKnown && one === mine(next);
        mine(next).claims = sorted([...mine(next).claims, pod]);
        return true;
      });
    }
    for (const { cidr } of host.blocks) {
      some('drain', `n${index} turns round on ${cidr}`, (next) => {
        mine(next).blocks = host.blocks.map((block) =>
          block.cidr === cidr ? { ...block, drain: !block.drain } : block,
        );
        return true;
      });
    }
    some('crash', `n${index} crashes`, (next) => {
      restart(world, mine(next));
      return true;
    });
    some('want', `n${index} wants more`, (next) => {
      const view = mine(next).object;
      if (!view.fresh) return false;
      const object = { requested: view.requested + 1, allocated: view.allocated };
      putNode(next, index, object);
      mine(next).object = { ...object, fresh: true };
      return true;
    });
  }
  return actions;
}

/** What must never be. Throws Violation. */
export function check(state: State): void {
  const { records } = state.store;
  for (const [index, [cidr, node]] of records.entries()) {
    for (const [other, holder] of records.slice(0, index)) {
      if (overlaps(cidr, other)) {
        throw new Violation(`${cidr} is n${node}'s and ${other} is n${holder}'s`);
      }
    }
  }
  for (const [index, host] of state.hosts.entries()) {
    for (const block of host.blocks) {
      if (block.phase !== 'announcing' && block.phase !== 'ready') continue;
      if (state.ghost.unaware[index]?.includes(block.cidr)) continue;
      const other = records.find(([cidr, node]) => node !== index && overlaps(cidr, block.cidr));
      if (other !== undefined) {
        throw new Violation(`n${index} uses ${block.cidr}, and n${other[1]} has ${other[0]}`);
      }
    }
    for (const pod of host.pods) {
      for (const [other, there] of state.hosts.slice(0, index).entries()) {
        if (!there.pods.includes(pod)) continue;
        const excused = [other, index].some((node) =>
          state.ghost.forced[node]?.some((cidr) => Prefix.contains(cidr, pod as Address)),
        );
        if (!excused) throw new Violation(`${pod} is in the hands of n${other} and n${index}`);
      }
      const block = host.blocks.find(({ cidr }) => Prefix.contains(cidr, pod as Address));
      const phase = block?.phase ?? 'gone';
      if (phase === 'withdrawing' || phase === 'returning' || phase === 'gone') {
        throw new Violation(`pod ${pod} of n${index} runs in a block that is ${phase}`);
      }
    }
  }
}

/** Rounds within which undisturbed programs must have come to rest. */
const ROUNDS = 30;

/**
 * Lets all programs work, undisturbed, until nothing changes, with all pods of drained blocks gone. Then: no
 * address is in two hands at all, records, `allocated` and the nodes' blocks are the same, what drains has been
 * given back, and who asks has what he asks for unless the pool has nothing left.
 */
export function settle(world: World, from: State): State {
  const state = copyOf(from);
  for (const [index, host] of state.hosts.entries()) {
    const drains = host.blocks.filter(
      ({ cidr, drain }) => drain || state.store.closed.some((closed) => overlaps(closed, cidr)),
    );
    const left = host.pods.filter((pod) =>
      drains.some(({ cidr }) => Prefix.contains(cidr, pod as Address)),
    );
    for (const pod of left) remove(state, index, pod);
  }
  // Who does not know that he is deposed learns it, and somebody leads.
  for (const [index, op] of state.ops.entries())
    if (op.term === 'deposed') state.ops[index] = idle();
  for (let round = 0; ; round += 1) {
    let changed = false;
    for (const action of work(world, state)) changed = action.run(state) || changed;
    check(state);
    if (!changed) break;
    if (round === ROUNDS) throw new Violation('the programs do not come to rest');
  }
  atRest(world, state);
  return state;
}

function atRest(world: World, state: State): void {
  const all = state.hosts.flatMap(({ pods }) => pods);
  if (new Set(all).size !== all.length) throw new Violation('at rest an address is in two hands');
  const leader = state.ops.find(({ term }) => term === 'leading');
  for (const [index, host] of state.hosts.entries()) {
    const recorded = state.store.records.filter(([, node]) => node === index).map(([cidr]) => cidr);
    const object = state.store.nodes[index];
    const blocks = host.blocks.map(({ cidr }) => cidr);
    if (
      recorded.join() !== sorted(object?.allocated ?? []).join() ||
      recorded.join() !== blocks.join()
    ) {
      const what = `records ${recorded}, allocated ${object?.allocated}, blocks ${blocks}`;
      throw new Violation(`at rest n${index} has ${what}`);
    }
    for (const { cidr, drain, phase } of host.blocks) {
      if (drain || state.store.closed.some((closed) => overlaps(closed, cidr))) {
        throw new Violation(`the drain of ${cidr} does not end: ${phase}`);
      }
      if (phase !== 'ready') throw new Violation(`at rest ${cidr} of n${index} is ${phase}`);
    }
  }
  const undone = leader === undefined ? undefined : planOf(world, leader)[0];
  if (leader === undefined) throw new Violation('at rest nobody leads');
  if (undone !== undefined)
    throw new Violation(`at rest there is still to do: ${undone.type} ${undone.cidr}`);
}
