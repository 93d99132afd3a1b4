import type { BoundPolicy, PolicyBinder } from '../policy/bound.ts';
import type { CompiledPolicy } from '../policy/compile.ts';
import { type ImportContext, Importer } from '../rib/import.ts';
import { PeerKind } from '../rib/peer-columns.ts';
import type { Rib } from '../rib/rib.ts';
import { RouterId } from '../types.ts';
import { NlriCursor } from '../wire/nlri.ts';
import type { NlriBlock, ParsedUpdate } from '../wire/update.ts';
import type { SpeakerConfig } from './config.ts';
import type { PeerFamily, SpeakerPeer } from './peer.ts';

interface Entry {
  readonly importer: Importer;
  readonly bound: BoundPolicy | undefined;
  users: number;
}

/** Importers shared by neighbours whose routes are treated alike. */
export class Importers {
  readonly #speaker: () => SpeakerConfig;
  readonly #policy: (name: string | undefined) => CompiledPolicy | undefined;
  readonly #binder: PolicyBinder;
  readonly #entries = new Map<string, Entry>();
  readonly #keys = new Map<Importer, string>();
  readonly #numbers = new Map<CompiledPolicy, number>();
  #nextNumber = 1;

  constructor(
    speaker: () => SpeakerConfig,
    policy: (name: string | undefined) => CompiledPolicy | undefined,
    binder: PolicyBinder,
  ) {
    this.#speaker = speaker;
    this.#policy = policy;
    this.#binder = binder;
  }

  /** The importer for a neighbour whose session is up, in place of the one it has. True: it is another. */
  assign(peer: SpeakerPeer, family: PeerFamily): boolean {
    const negotiated = peer.negotiated!;
    const speaker = this.#speaker();
    const policy = this.#policy(family.config.import);
    const external = negotiated.kind === 'external';
    const context: ImportContext = {
      external,
      kind: external ? PeerKind.ebgp : PeerKind.ibgp,
      localAsn: negotiated.localAsn,
      ownAsn: speaker.asn,
      routerId: RouterId.toNumber(speaker.routerId),
      clusterId: RouterId.toNumber(speaker.clusterId ?? speaker.routerId),
      localAddress: negotiated.endpoints.localAddress,
    };
    const policyContext = {
      family: family.family,
      neighbor: peer.name,
      neighborAsn: negotiated.peerAsn,
      localAsn: negotiated.localAsn,
    };
    const key = JSON.stringify([
      context,
      family.family,
      policy && [policy.name, this.#binder.keyOf(policy, policyContext), this.#numberOf(policy)],
    ]);
    const old = family.importer;
    if (old !== undefined && this.#keys.get(old) === key) return false;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      const bound = policy && this.#binder.bind(policy, policyContext);
      entry = { importer: new Importer(family.rib.sets, context, bound), bound, users: 0 };
      this.#entries.set(key, entry);
      this.#keys.set(entry.importer, key);
    }
    entry.users++;
    family.importer = entry.importer;
    if (old !== undefined) this.#release(old);
    return true;
  }

  /** A number in place of the text: one for each compiled policy. */
  #numberOf(policy: CompiledPolicy): number {
    let number = this.#numbers.get(policy);
    if (number === undefined) {
      number = this.#nextNumber++;
      this.#numbers.set(policy, number);
    }
    return number;
  }

  forgetPolicy(policy: CompiledPolicy): void {
    this.#numbers.delete(policy);
  }

  unassign(family: PeerFamily): void {
    const { importer } = family;
    if (importer === undefined) return;
    family.importer = undefined;
    this.#release(importer);
  }

  #release(importer: Importer): void {
    const key = this.#keys.get(importer)!;
    const entry = this.#entries.get(key)!;
    if (--entry.users > 0) return;
    this.#entries.delete(key);
    this.#keys.delete(importer);
    importer.close();
    if (entry.bound !== undefined) this.#binder.release(entry.bound);
  }
}

const cursor = new NlriCursor();

const longestSet = 65_000;
const mostNumbers = 16_600_000;

/** Takes an UPDATE into the RIBs. This is where a million routes come through. */
export function receive(peer: SpeakerPeer, update: ParsedUpdate): void {
  for (const block of update.withdrawn) {
    const family = peer.families.get(block.family);
    if (family?.negotiated !== undefined) withdraw(family.rib, peer.index, block);
  }
  for (const block of update.announced) {
    const family = peer.families.get(block.family);
    if (family?.negotiated !== undefined) announce(family, peer.index, update, block);
  }
}

function withdraw(rib: Rib, peer: number, block: NlriBlock): void {
  const { prefixes } = rib;
  cursor.reset(block);
  while (cursor.next()) {
    const prefix = prefixes.find(cursor.length, cursor.w0, cursor.w1, cursor.w2, cursor.w3);
    if (prefix !== 0) rib.withdraw(peer, prefix, cursor.pathId);
  }
}

function announce(family: PeerFamily, peer: number, update: ParsedUpdate, block: NlriBlock): void {
  const { rib } = family;
  const { sets, prefixes } = rib;
  const importer = family.importer!;
  // Longer than a set can be (a path of two-octet numbers doubles), or more than there are numbers for: better no
  // route than a wrong one.
  if (
    update.attributesEnd - update.attributesStart > longestSet ||
    prefixes.size > mostNumbers ||
    sets.size > mostNumbers
  ) {
    withdraw(rib, peer, block);
    return;
  }
  const max = family.config.maxPrefixes;
  const limit = max?.action === 'refuse' ? max.limit : Number.POSITIVE_INFINITY;
  const hop = sets.nextHops.intern(block.bytes, block.nextHopStart, block.nextHopLength);
  const set = sets.intern(
    update.attributeBytes,
    update.attributesStart,
    update.attributesEnd,
    update.attributesHash,
    hop,
  );
  sets.nextHops.release(hop);
  const { usesPrefix } = importer;
  let result = usesPrefix ? 0 : importer.run(set, cursor);
  cursor.reset(block);
  while (cursor.next()) {
    if (usesPrefix) result = importer.run(set, cursor);
    const prefix = prefixes.insert(cursor.length, cursor.w0, cursor.w1, cursor.w2, cursor.w3);
    const isTaken = rib.announce(
      peer,
      prefix,
      cursor.pathId,
      set,
      Math.max(result, 0),
      result > 0 ? 0 : -result,
      limit,
    );
    if (!isTaken && rib.head[prefix] === 0) rib.mayFree(prefix);
  }
  sets.release(set);
}
