import { ORIGINS_PER_ENTRY, OVERFLOW_RULE, type SetLimits, unlimited } from './budget.ts';
import type { PolicyEntry, PolicyEntryKey, PolicyInfo, PolicySetChange } from './diff.ts';
import { allows, type Entry, type EntryOrigin, EntryTable } from './entry.ts';
import { directionBit, type L4, packL4, unpackL4 } from './l4.ts';
import { ENTRY_FLAGS, type Enforcement, type EntryValue, type PolicyView } from './lookup.ts';
import type { Direction, NamedPort, SubjectLabels } from './model.ts';

/** What tells one compiled set from another. */
export interface PolicySetSpec extends SubjectLabels {
  readonly namedPorts: readonly NamedPort[];
  /** Nothing is denied to the endpoint: every rule counts as audited for it. */
  readonly audit: boolean;
}

/** `k8s:app=db;...|http/6=8080|audit`: equal for endpoints that can share a set. */
export function policySetKey({ labels, nodeLabels, namedPorts, audit }: PolicySetSpec): string {
  const ports = namedPorts
    .map((each) => `${each.name.toLowerCase()}/${each.protocol}=${each.port}`)
    .sort();
  const node = nodeLabels === undefined ? '' : `|node ${nodeLabels.text}`;
  return `${labels.text}|${ports.join(',')}|${audit ? 'audit' : ''}${node}`;
}

/**
 * The entries for endpoints of the same labels, named ports and mode. Each entry keeps all its
 * origins; entries of different rules are independent, so no rule's arrival rewrites another's.
 */
export class PolicySet implements PolicyView {
  readonly id: number;
  readonly key: string;
  readonly spec: PolicySetSpec;
  readonly #entries = new EntryTable();
  /** Keys in use by direction and port prefix length. */
  readonly #lengths = [new Uint32Array(17), new Uint32Array(17)] as const;
  readonly #bits: [number, number] = [0, 0];
  /** How many policies want default deny: [direction][0 in force, 1 audited]. */
  readonly #denyWanted = [new Int32Array(2), new Int32Array(2)] as const;
  readonly #limits: SetLimits;
  #dirty: Entry[] = [];
  #size = 0;
  #origins = 0;
  #dropped = 0;
  /** Something has gone since there was no room. */
  #freed = false;
  #revision = 0;
  #sentInfo = '';
  #sentEnforcement: [Enforcement, Enforcement] = ['off', 'off'];

  constructor(id: number, spec: PolicySetSpec, limits: SetLimits = unlimited()) {
    this.id = id;
    this.#limits = limits;
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
    if (this.full) this.overflow(origin, (l4 & 1) === 0 ? 'ingress' : 'egress');
    else this.#put(identity, l4, origin);
  }

  #put(identity: number, l4: L4, origin: EntryOrigin): void {
    const entry = this.#entries.obtain(identity, l4);
    if (entry.empty) {
      this.#size++;
      this.#limits.shared.left--;
      this.#countLength(l4, 1);
    }
    entry.add(origin);
    this.#origins++;
    this.#touch(entry);
  }

  /** Takes back one `add` of the same arguments. */
  remove(identity: number, l4: L4, origin: EntryOrigin): void {
    const entry = this.#entries.get(identity, l4);
    if (entry === undefined || !entry.remove(origin)) return;
    this.#origins--;
    this.#freed = true;
    if (entry.empty) this.#emptied(entry);
    this.#touch(entry);
  }

  #emptied({ l4 }: Entry): void {
    this.#size--;
    this.#limits.shared.left++;
    this.#countLength(l4, -1);
  }

  /** No room for anything more. */
  get full(): boolean {
    const { entries, shared } = this.#limits;
    return (
      this.#size >= entries || this.#origins >= entries * ORIGINS_PER_ENTRY || shared.left <= 0
    );
  }

  /** Times that something found no room. Allows are missing then; for denies all is denied. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Notes that (some of) a rule found no room. */
  overflow(origin: EntryOrigin, direction: Direction): void {
    this.#dropped++;
    this.#freed = false;
    if (!origin.deny || origin.audit || this.spec.audit) return;
    const all = packL4(directionBit(direction), 0, 0, 0);
    const known = this.#entries.get(0, all)?.origins.includes(OVERFLOW_RULE);
    if (!known) this.#put(0, all, OVERFLOW_RULE);
  }

  /** Whether filling it anew might find room for what was dropped. */
  get wantsRefill(): boolean {
    return this.#dropped > 0 && this.#freed;
  }

  /** Takes everything out, as if nothing had been added; what the kernel has is remembered. */
  clear(): void {
    for (const entry of this.#entries) {
      if (entry.empty) continue;
      entry.clear();
      this.#emptied(entry);
      this.#touch(entry);
    }
    for (const counts of this.#denyWanted) counts.fill(0);
    this.#origins = 0;
    this.#dropped = 0;
    this.#freed = false;
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
    if (entry.dirty) return;
    entry.dirty = true;
    this.#dirty.push(entry);
  }

  get(identity: number, l4: L4): EntryValue | undefined {
    const entry = this.#entries.get(identity, l4);
    return entry === undefined || entry.empty ? undefined : entry.settle(this.spec.audit);
  }

  /** The rules behind one key. */
  origins(identity: number, l4: L4): readonly number[] {
    const origins = this.#entries.get(identity, l4)?.origins ?? [];
    return [...new Set(origins.map((each) => each.ruleId))].sort((a, b) => a - b);
  }

  /** Identities that entries name, 0 among them where one is for all. */
  identities(): Iterable<number> {
    return this.#entries.identities();
  }

  /** Keys in use for an identity. */
  *keys(identity: number): Generator<L4> {
    for (const entry of this.#entries.of(identity)) if (!entry.empty) yield entry.l4;
  }

  *entries(): Generator<PolicyEntry> {
    for (const entry of this.#entries) {
      if (!entry.empty) yield { ...keyOf(entry), ...entry.settle(this.spec.audit) };
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
      if (entry.empty) {
        if (entry.sentFlags >= 0) {
          if (allows(entry.sentFlags)) narrows = true;
          deletes.push(keyOf(entry));
        }
        this.#entries.delete(entry);
        continue;
      }
      const { flags, ruleId } = entry.settle(this.spec.audit);
      if (flags === entry.sentFlags && ruleId === entry.sentRuleId) continue;
      if (flags !== entry.sentFlags && !allows(flags)) {
        narrows ||= (flags & ENTRY_FLAGS.audit) === 0 || allows(entry.sentFlags);
      }
      entry.sentFlags = flags;
      entry.sentRuleId = ruleId;
      upserts.push({ ...keyOf(entry), flags, ruleId });
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
    for (const entry of this.#entries) if (entry.sentFlags >= 0) deletes.push(keyOf(entry));
    return { policyId: this.id, type: 'removed', upserts: [], deletes };
  }
}

const keyOf = ({ identity, l4 }: Entry): PolicyEntryKey => ({ identity, ...unpackL4(l4) });
