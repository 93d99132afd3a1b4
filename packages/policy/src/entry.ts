import type { L4 } from './l4.ts';
import { ENTRY_FLAGS } from './lookup.ts';

/** What an entry needs to know of the rules that made it. */
export interface EntryOrigin {
  readonly ruleId: number;
  readonly deny: boolean;
  readonly audit: boolean;
}

/** A key of one set with what is behind it. A node may hold a million, so each is kept small. */
export class Entry {
  readonly identity: number;
  readonly l4: L4;
  /** One per (rule, selector) that gives this key, so a rule may be here more than once. */
  #origins: EntryOrigin | EntryOrigin[] | undefined = undefined;
  #flags = 0;
  #ruleId = 0;
  /** The two above follow the origins only when asked for; the set says whether its rules are audited. */
  #stale = true;
  dirty = false;
  /** What the kernel has; flags -1 for nothing. */
  sentFlags = -1;
  sentRuleId = 0;

  constructor(identity: number, l4: L4) {
    this.identity = identity;
    this.l4 = l4;
  }

  get empty(): boolean {
    return this.#origins === undefined;
  }

  get origins(): readonly EntryOrigin[] {
    if (this.#origins === undefined) return [];
    return Array.isArray(this.#origins) ? this.#origins : [this.#origins];
  }

  add(origin: EntryOrigin): void {
    this.#stale = true;
    if (this.#origins === undefined) this.#origins = origin;
    else if (Array.isArray(this.#origins)) this.#origins.push(origin);
    else this.#origins = [this.#origins, origin];
  }

  /** Takes out one occurrence; false if there is none. */
  remove(origin: EntryOrigin): boolean {
    if (this.#origins === origin) {
      this.#origins = undefined;
    } else {
      const list = Array.isArray(this.#origins) ? this.#origins : [];
      const at = list.lastIndexOf(origin);
      if (at < 0) return false;
      list[at] = list.at(-1)!;
      list.pop();
      if (list.length === 1) this.#origins = list[0];
    }
    this.#stale = true;
    return true;
  }

  clear(): void {
    this.#origins = undefined;
    this.#stale = true;
  }

  /** Brings flags and rule id up to date. @param auditAll every rule counts as audited. */
  settle(auditAll: boolean): { readonly flags: number; readonly ruleId: number } {
    if (this.#stale) {
      this.#stale = false;
      this.#decide(auditAll);
    }
    return { flags: this.#flags, ruleId: this.#ruleId };
  }

  /** Of several rules that say the same, the least number is shown, so that order does not matter. */
  #decide(auditAll: boolean): void {
    const none = Number.POSITIVE_INFINITY;
    let deny = none;
    let allow = none;
    let auditedDeny = none;
    let auditedAllow = none;
    for (const origin of this.origins) {
      const { ruleId } = origin;
      if (auditAll || origin.audit) {
        if (origin.deny) auditedDeny = Math.min(auditedDeny, ruleId);
        else auditedAllow = Math.min(auditedAllow, ruleId);
      } else if (origin.deny) deny = Math.min(deny, ruleId);
      else allow = Math.min(allow, ruleId);
    }
    if (deny !== none) {
      this.#flags = ENTRY_FLAGS.deny;
      this.#ruleId = deny;
    } else if (auditedDeny !== none) {
      const beside = allow === none ? 0 : ENTRY_FLAGS.alsoAllow;
      this.#flags = ENTRY_FLAGS.deny | ENTRY_FLAGS.audit | beside;
      this.#ruleId = auditedDeny;
    } else if (allow !== none) {
      this.#flags = 0;
      this.#ruleId = allow;
    } else {
      this.#flags = ENTRY_FLAGS.audit;
      this.#ruleId = auditedAllow;
    }
  }
}

/** Whether an entry by itself lets a packet pass under default deny. -1 is no entry. */
export function allows(flags: number): boolean {
  return flags === 0 || (flags >= 0 && (flags & ENTRY_FLAGS.alsoAllow) !== 0);
}

/** Entries by identity and key. Most identities have one key, which then needs no map of its own. */
export class EntryTable {
  readonly #byIdentity = new Map<number, Entry | Map<L4, Entry>>();

  get(identity: number, l4: L4): Entry | undefined {
    const held = this.#byIdentity.get(identity);
    if (held instanceof Entry) return held.l4 === l4 ? held : undefined;
    return held?.get(l4);
  }

  /** The entry of a key, made if it is not there. */
  obtain(identity: number, l4: L4): Entry {
    const held = this.#byIdentity.get(identity);
    if (held === undefined) {
      const entry = new Entry(identity, l4);
      this.#byIdentity.set(identity, entry);
      return entry;
    }
    if (held instanceof Entry) {
      if (held.l4 === l4) return held;
      const entry = new Entry(identity, l4);
      this.#byIdentity.set(
        identity,
        new Map([
          [held.l4, held],
          [l4, entry],
        ]),
      );
      return entry;
    }
    const known = held.get(l4);
    if (known !== undefined) return known;
    const entry = new Entry(identity, l4);
    held.set(l4, entry);
    return entry;
  }

  delete({ identity, l4 }: Entry): void {
    const held = this.#byIdentity.get(identity);
    if (held instanceof Entry) {
      if (held.l4 === l4) this.#byIdentity.delete(identity);
      return;
    }
    held?.delete(l4);
    if (held?.size === 0) this.#byIdentity.delete(identity);
  }

  identities(): Iterable<number> {
    return this.#byIdentity.keys();
  }

  *of(identity: number): Generator<Entry> {
    const held = this.#byIdentity.get(identity);
    if (held instanceof Entry) yield held;
    else if (held !== undefined) yield* held.values();
  }

  *[Symbol.iterator](): Generator<Entry> {
    for (const held of this.#byIdentity.values()) {
      if (held instanceof Entry) yield held;
      else yield* held.values();
    }
  }
}
