import type { LabelSet } from '@causeway/identity';
import type { PolicyEntry, PolicyEntryKey, PolicyInfo, PolicySetChange } from './diff.ts';
import { type L4, unpackL4 } from './l4.ts';
import { ENTRY_FLAGS, type Enforcement, type EntryValue, type PolicyView } from './lookup.ts';
import type { Direction, NamedPort } from './model.ts';

/** What an entry needs to know of the rules that made it. */
export interface EntryOrigin {
  readonly ruleId: number;
  readonly deny: boolean;
  readonly audit: boolean;
}

interface Entry {
  readonly identity: number;
  readonly l4: L4;
  /** One per (rule, selector) that gives this key: a rule may stand here more than once. */
  readonly origins: EntryOrigin[];
  flags: number;
  ruleId: number;
  /** `flags` and `ruleId` follow `origins` only when asked for. */
  stale: boolean;
  dirty: boolean;
  /** What the kernel has; flags -1 for nothing. */
  sentFlags: number;
  sentRuleId: number;
}

/** What tells one compiled set from another. */
export interface PolicySetSpec {
  readonly labels: LabelSet;
  readonly namedPorts: readonly NamedPort[];
  /** The endpoint is in audit mode: every rule counts as audited for it. */
  readonly audit: boolean;
}

/** `k8s:app=db;...|http/6=8080|audit`: equal for endpoints that can share a set. */
export function policySetKey({ labels, namedPorts, audit }: PolicySetSpec): string {
  const ports = namedPorts
    .map((each) => `${each.name.toLowerCase()}/${each.protocol}=${each.port}`)
    .sort();
  return `${labels.text}|${ports.join(',')}|${audit ? 'audit' : ''}`;
}

/**
 * The entries for endpoints of the same labels, named ports and mode. Each entry keeps all its
 * origins; entries of different rules are independent, so no rule's arrival rewrites another's.
 */
export class PolicySet implements PolicyView {
  readonly id: number;
  readonly key: string;
  readonly spec: PolicySetSpec;
  readonly #entries = new Map<number, Map<L4, Entry>>();
  /** Keys in use by direction and port prefix length. */
  readonly #lengths = [new Uint32Array(17), new Uint32Array(17)] as const;
  readonly #bits: [number, number] = [0, 0];
  /** How many policies want default deny: [direction][0 in force, 1 audited]. */
  readonly #denyWanted = [new Int32Array(2), new Int32Array(2)] as const;
  #dirty: Entry[] = [];
  #size = 0;
  #revision = 0;
  #sentInfo = '';
  #sentEnforcement: [Enforcement, Enforcement] = ['off', 'off'];

  constructor(id: number, spec: PolicySetSpec) {
    this.id = id;
    this.spec = spec;
    this.key = policySetKey(spec);
  }

  /** Entries that hold. */
  get size(): number {
    return this.#size;
  }

  get revision(): number {
    return this.#revision;
  }

  get ingress(): Enforcement {
    return this.#enforcement(0);
  }

  get egress(): Enforcement {
    return this.#enforcement(1);
  }

  get prefixLengths(): readonly [number, number] {
    return this.#bits;
  }

  /** A policy begins (+1) or ceases (-1) to want default deny. */
  wantDefaultDeny(direction: Direction, audit: boolean, change: 1 | -1): void {
    const counts = this.#denyWanted[direction === 'ingress' ? 0 : 1];
    counts[audit || this.spec.audit ? 1 : 0]! += change;
  }

  #enforcement(dir: 0 | 1): Enforcement {
    const counts = this.#denyWanted[dir];
    if (counts[0]! > 0) return 'enforced';
    return counts[1]! > 0 ? 'audit' : 'off';
  }

  add(identity: number, l4: L4, origin: EntryOrigin): void {
    const byL4 = this.#entries.get(identity) ?? new Map<L4, Entry>();
    if (byL4.size === 0) this.#entries.set(identity, byL4);
    let entry = byL4.get(l4);
    if (entry === undefined) {
      entry = {
        identity,
        l4,
        origins: [],
        flags: 0,
        ruleId: 0,
        stale: true,
        dirty: false,
        sentFlags: -1,
        sentRuleId: 0,
      };
      byL4.set(l4, entry);
    }
    if (entry.origins.push(origin) === 1) {
      this.#size++;
      this.#countLength(l4, 1);
    }
    this.#touch(entry);
  }

  /** Takes back one `add` of the same arguments. */
  remove(identity: number, l4: L4, origin: EntryOrigin): void {
    const entry = this.#entries.get(identity)?.get(l4);
    const at = entry?.origins.lastIndexOf(origin) ?? -1;
    if (entry === undefined || at < 0) return;
    entry.origins[at] = entry.origins.at(-1)!;
    entry.origins.pop();
    if (entry.origins.length === 0) {
      this.#size--;
      this.#countLength(l4, -1);
    }
    this.#touch(entry);
  }

  #countLength(l4: L4, change: 1 | -1): void {
    const dir = (l4 & 1) as 0 | 1;
    const length = (l4 >>> 17) & 0x1f;
    const counts = this.#lengths[dir];
    counts[length]! += change;
    if (counts[length]! > 0) this.#bits[dir] |= 1 << length;
    else this.#bits[dir] &= ~(1 << length);
  }

  #touch(entry: Entry): void {
    entry.stale = true;
    if (entry.dirty) return;
    entry.dirty = true;
    this.#dirty.push(entry);
  }

  get(identity: number, l4: L4): EntryValue | undefined {
    const entry = this.#entries.get(identity)?.get(l4);
    if (entry === undefined || entry.origins.length === 0) return undefined;
    return this.#settle(entry);
  }

  /** The rules behind one key. */
  origins(identity: number, l4: L4): readonly number[] {
    const origins = this.#entries.get(identity)?.get(l4)?.origins ?? [];
    return [...new Set(origins.map((each) => each.ruleId))].sort((a, b) => a - b);
  }

  /** Identities that entries name, 0 among them where one is for all. */
  *identities(): Generator<number> {
    yield* this.#entries.keys();
  }

  /** Keys in use for an identity. */
  *keys(identity: number): Generator<L4> {
    for (const [l4, entry] of this.#entries.get(identity) ?? []) {
      if (entry.origins.length > 0) yield l4;
    }
  }

  *entries(): Generator<PolicyEntry> {
    for (const byL4 of this.#entries.values()) {
      for (const entry of byL4.values()) {
        if (entry.origins.length === 0) continue;
        const { flags, ruleId } = this.#settle(entry);
        yield { identity: entry.identity, ...unpackL4(entry.l4), flags, ruleId };
      }
    }
  }

  get info(): PolicyInfo {
    const [ingress, egress] = this.prefixLengths;
    return {
      revision: this.#revision,
      prefixLengths: { ingress, egress },
      ingress: this.ingress,
      egress: this.egress,
    };
  }

  /** Whether the kernel has been told of it. */
  get known(): boolean {
    return this.#sentInfo !== '';
  }

  #infoText(): string {
    return `${this.#bits.join()} ${this.ingress} ${this.egress}`;
  }

  /**
   * What differs from the last flush; undefined if nothing does.
   * @param revision is taken over if a packet that passed until now might no longer pass, since
   *   verdicts are cached in connections under it. What only allows more keeps the old one.
   */
  flush(revision: number): PolicySetChange | undefined {
    const upserts: PolicyEntry[] = [];
    const deletes: PolicyEntryKey[] = [];
    const type = this.#sentInfo === '' ? 'created' : 'changed';
    const info = this.#infoText();
    let narrows = type === 'created' || this.#narrower();
    for (const entry of this.#dirty) {
      entry.dirty = false;
      if (entry.origins.length === 0) {
        if (entry.sentFlags >= 0) {
          if (allows(entry.sentFlags)) narrows = true;
          deletes.push({ identity: entry.identity, ...unpackL4(entry.l4) });
        }
        this.#forget(entry);
        continue;
      }
      const { flags, ruleId } = this.#settle(entry);
      if (flags === entry.sentFlags && ruleId === entry.sentRuleId) continue;
      if (flags !== entry.sentFlags && !allows(flags)) {
        narrows ||= (flags & ENTRY_FLAGS.audit) === 0 || allows(entry.sentFlags);
      }
      entry.sentFlags = flags;
      entry.sentRuleId = ruleId;
      upserts.push({ identity: entry.identity, ...unpackL4(entry.l4), flags, ruleId });
    }
    this.#dirty = [];
    if (upserts.length === 0 && deletes.length === 0 && info === this.#sentInfo) return undefined;
    this.#sentInfo = info;
    this.#sentEnforcement = [this.ingress, this.egress];
    if (narrows) this.#revision = revision;
    return { policyId: this.id, type, info: this.info, upserts, deletes };
  }

  /** Default deny has come where there was none in force. */
  #narrower(): boolean {
    const [ingress, egress] = this.#sentEnforcement;
    return (
      (this.ingress === 'enforced' && ingress !== 'enforced') ||
      (this.egress === 'enforced' && egress !== 'enforced')
    );
  }

  /** Everything the kernel has of this set. */
  removal(): PolicySetChange {
    const deletes: PolicyEntryKey[] = [];
    for (const byL4 of this.#entries.values()) {
      for (const entry of byL4.values()) {
        if (entry.sentFlags >= 0) {
          deletes.push({ identity: entry.identity, ...unpackL4(entry.l4) });
        }
      }
    }
    return { policyId: this.id, type: 'removed', upserts: [], deletes };
  }

  #forget(entry: Entry): void {
    const byL4 = this.#entries.get(entry.identity);
    byL4?.delete(entry.l4);
    if (byL4?.size === 0) this.#entries.delete(entry.identity);
  }

  #settle(entry: Entry): Entry {
    if (!entry.stale) return entry;
    entry.stale = false;
    const none = Number.POSITIVE_INFINITY;
    const least = { deny: none, allow: none, auditedDeny: none, auditedAllow: none };
    for (const { ruleId, deny, audit } of entry.origins) {
      const kind: keyof typeof least =
        audit || this.spec.audit
          ? deny
            ? 'auditedDeny'
            : 'auditedAllow'
          : deny
            ? 'deny'
            : 'allow';
      if (ruleId < least[kind]) least[kind] = ruleId;
    }
    if (least.deny !== none) {
      entry.flags = ENTRY_FLAGS.deny;
      entry.ruleId = least.deny;
    } else if (least.auditedDeny !== none) {
      const beside = least.allow === none ? 0 : ENTRY_FLAGS.alsoAllow;
      entry.flags = ENTRY_FLAGS.deny | ENTRY_FLAGS.audit | beside;
      entry.ruleId = least.auditedDeny;
    } else if (least.allow !== none) {
      entry.flags = 0;
      entry.ruleId = least.allow;
    } else {
      entry.flags = ENTRY_FLAGS.audit;
      entry.ruleId = least.auditedAllow;
    }
    return entry;
  }
}

/** Whether an entry by itself lets a packet pass under default deny. -1 is no entry. */
function allows(flags: number): boolean {
  return flags === 0 || (flags >= 0 && (flags & ENTRY_FLAGS.alsoAllow) !== 0);
}
