import type { Prefix } from '@causeway/ip';
import type { PoolPlanner } from '@causeway/ipam';

/** Who has blocks with a record that cannot be read; no node has this name. */
const UNREADABLE = '(a record that cannot be read)';
const LOOK_AGAIN_MS = 5_000;

/** Keeps CIDRs from use under a name that no node has. */
const keeper = (name: string, podCidrs: readonly Prefix[]) => ({
  name,
  labels: {},
  requested: [],
  allocated: [],
  podCidrs,
});

const graveOf = (name: string): string => `(${name}, which was deleted)`;

/**
 * CIDRs that nobody is given although no readable record says whose they are: those of records that cannot be read,
 * and for a while those that deleted nodes had by `podCIDRs`, whose pods may still run. Times are the clock's.
 */
export class KeptCidrs {
  readonly #planner: PoolPlanner;
  readonly #graceMs: number;
  readonly #unreadable = new Set<Prefix>();
  /** Deleted nodes, and since when they are. */
  readonly #graves = new Map<string, number>();
  #lookAt = 0;

  constructor(planner: PoolPlanner, graceMs: number) {
    this.#planner = planner;
    this.#graceMs = graceMs;
  }

  /** The node has no CiliumNode any more. */
  bury(name: string, now: number): void {
    const podCidrs = this.#planner.ownOf(name);
    this.#planner.removeNode(name);
    if (podCidrs.length === 0) return;
    this.#graves.set(name, now);
    this.#planner.upsertNode(keeper(graveOf(name), podCidrs));
  }

  /** It is back, or nothing of it runs any more. */
  open(name: string): void {
    if (this.#graves.delete(name)) this.#planner.removeNode(graveOf(name));
  }

  /** Lets go of what was kept long enough. */
  expire(now: number): void {
    for (const [name, since] of this.#graves) if (now - since >= this.#graceMs) this.open(name);
  }

  addUnreadable(cidr: Prefix, now: number): void {
    if (this.#unreadable.size === 0) this.#lookAt = now + LOOK_AGAIN_MS;
    this.#unreadable.add(cidr);
    this.#keepUnreadable();
  }

  /** Its record was deleted or mended. */
  deleteUnreadable(cidr: Prefix): void {
    if (this.#unreadable.delete(cidr)) this.#keepUnreadable();
  }

  /** Records to look at again now: nobody tells when one was deleted or mended. */
  takeDue(now: number): readonly Prefix[] {
    if (this.#unreadable.size === 0 || now < this.#lookAt) return [];
    this.#lookAt = now + LOOK_AGAIN_MS;
    return [...this.#unreadable];
  }

  /** Milliseconds until time alone brings something to do; Infinity: never. */
  wait(now: number): number {
    const look = this.#unreadable.size > 0 ? this.#lookAt - now : Number.POSITIVE_INFINITY;
    const ends = Array.from(this.#graves.values(), (since) => since + this.#graceMs - now);
    return Math.min(look, ...ends);
  }

  #keepUnreadable(): void {
    this.#planner.upsertNode(keeper(UNREADABLE, [...this.#unreadable]));
  }
}
