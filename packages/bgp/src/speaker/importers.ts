import type { BoundPolicy, PolicyBinder } from '../policy/bound.ts';
import type { CompiledPolicy } from '../policy/compile.ts';
import { type ImportContext, Importer } from '../rib/import.ts';
import { PeerKind } from '../rib/peer-columns.ts';
import { RouterId } from '../types.ts';
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

  /**
   * The importer for a neighbour whose session is up, or whose paths are kept, in place of the one it has. True: it is
   * another.
   */
  assign(peer: SpeakerPeer, family: PeerFamily): boolean {
    const negotiated = (peer.negotiated ?? peer.former)!;
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

  /** Of families that are neither exchanged nor kept. */
  settle(peer: SpeakerPeer): void {
    for (const family of peer.families.values())
      if (family.negotiated === undefined && family.restart === undefined) this.unassign(family);
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
