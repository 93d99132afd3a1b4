import { BgpError } from '../errors.ts';
import { type CompiledPolicy, compilePolicies } from '../policy/compile.ts';
import type { PolicyLibrary } from '../policy/types.ts';
import type { Rib } from '../rib/rib.ts';
import { type FamilyKey, familyTable } from '../types.ts';
import type { SpeakerPeerConfig } from './config.ts';
import type { Groups } from './groups.ts';
import type { Importers } from './importers.ts';
import { type Job, ReimportJob } from './jobs.ts';
import type { PeerFamily, SpeakerPeer } from './peer.ts';
import type { Roster } from './roster.ts';

interface PoliciesContext {
  readonly roster: Roster;
  readonly ribs: Readonly<Record<FamilyKey, Rib>>;
  readonly importers: Importers;
  readonly groups: Groups;
  readonly addJob: (job: Job) => void;
}

/** The policies by name, and what has to be looked at again when one of them, or who uses it, changes. */
export class Policies {
  #compiled: Map<string, CompiledPolicy>;
  #context: PoliciesContext | undefined;

  /** Throws BgpError `invalid-config`. */
  constructor(library: PolicyLibrary) {
    this.#compiled = compilePolicies(library);
  }

  /** Once, before anything changes: those who use policies are made with them at hand. */
  attach(context: PoliciesContext): void {
    this.#context = context;
  }

  readonly get = (name: string | undefined): CompiledPolicy | undefined =>
    name === undefined ? undefined : this.#compiled.get(name);

  /** Throws BgpError `invalid-config`: the library is wrong, or lacks a policy that a neighbour names. */
  check(library: PolicyLibrary): Map<string, CompiledPolicy> {
    const compiled = compilePolicies(library);
    for (const { name, config } of this.#parts.roster.all) checkNames(name, config, compiled);
    return compiled;
  }

  checkNames(config: SpeakerPeerConfig): void {
    checkNames(config.name, config, this.#compiled);
  }

  /** Takes what `check` gave. Routes are looked at again where a policy decides otherwise now. */
  swap(compiled: Map<string, CompiledPolicy>): void {
    const { roster, importers, groups } = this.#parts;
    const changed = new Set<string>();
    for (const [name, policy] of this.#compiled) {
      const next = compiled.get(name);
      if (next?.fingerprint === policy.fingerprint) compiled.set(name, policy);
      else {
        changed.add(name);
        importers.forgetPolicy(policy);
      }
    }
    this.#compiled = compiled;
    if (changed.size === 0) return;
    groups.policyChanged(changed, (index) => roster.byIndex[index]);
    const concerned = [...roster.all].filter((peer) =>
      peer.config.families.some((one) => one.import !== undefined && changed.has(one.import)),
    );
    this.reimport(concerned);
  }

  /** Import policy anew for those whose importer is another now, all in one walk over the paths. */
  reimport(peers: readonly SpeakerPeer[], always = false): void {
    const { importers, ribs, addJob } = this.#parts;
    for (const { key } of familyTable) {
      const concerned = new Map<number, PeerFamily>();
      for (const peer of peers) {
        const family = peer.families.get(key);
        const isUp = family?.negotiated !== undefined && peer.negotiated !== undefined;
        const isKept = family?.restart !== undefined && peer.former !== undefined;
        if (family === undefined || !(isUp || isKept)) continue;
        if (importers.assign(peer, family) || always) concerned.set(peer.index, family);
      }
      if (concerned.size === 0) continue;
      const importer = (peer: number) => concerned.get(peer)?.importer;
      addJob(new ReimportJob(ribs[key], importer, () => {}));
    }
  }

  /** Rules that do not touch the session: import and export anew. True: something differs. */
  replace(peer: SpeakerPeer): boolean {
    if (peer.negotiated === undefined) {
      this.reimport([peer]);
      return false;
    }
    const { groups } = this.#parts;
    let differs = false;
    for (const family of peer.families.values()) {
      if (family.negotiated === undefined) continue;
      const before = family.importer;
      this.reimport([peer]);
      if (family.importer !== before) differs = true;
      if (groups.place(peer, family)) differs = true;
    }
    return differs;
  }

  get #parts(): PoliciesContext {
    return this.#context as PoliciesContext;
  }
}

function checkNames(
  peer: string,
  config: SpeakerPeerConfig,
  policies: ReadonlyMap<string, CompiledPolicy>,
): void {
  for (const family of config.families) {
    for (const direction of ['import', 'export'] as const) {
      const name = family[direction];
      if (name === undefined || policies.has(name)) continue;
      throw new BgpError(
        'invalid-config',
        `neighbour ${peer}, ${family.family}, ${direction}: there is no policy ${JSON.stringify(name)}`,
        { value: name },
      );
    }
  }
}
