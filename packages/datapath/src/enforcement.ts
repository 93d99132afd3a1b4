import type { Address, Mac } from '@causeway/ip';
import type { Enforcement, PolicyEntryKey, PolicyInfo, PolicySetChange } from '@causeway/policy';
import { EndpointFlag, type EndpointValue, type endpoints } from './maps/endpoints.ts';
import {
  PolicyInfoFlag,
  type PolicyKey,
  type PolicyValue,
  type policy,
  type policyInfo,
} from './maps/policy.ts';
import type { MapOf } from './typed-map.ts';

/** A row of the `endpoints` map: an address of a local pod. */
export interface EndpointRow {
  readonly address: Address;
  readonly ifindex: number;
  readonly endpointId: number;
  readonly identity: number;
  /** 0: no policy. */
  readonly policyId: number;
  /** From 1. */
  readonly policyRevision: number;
  readonly mac: Mac;
  readonly hostMac: Mac;
  readonly ingress: Enforcement;
  readonly egress: Enforcement;
  /** What would be dropped passes and is reported, whatever the policies say. */
  readonly audit?: boolean;
}

const directionNumber = (direction: 'ingress' | 'egress') => (direction === 'ingress' ? 0 : 1);

const { defaultDenyIngress, defaultDenyEgress, defaultAuditIngress, defaultAuditEgress } =
  PolicyInfoFlag;

function infoFlags(info: Pick<PolicyInfo, 'ingress' | 'egress'>): number {
  return (
    (info.ingress === 'enforced' ? defaultDenyIngress : 0) |
    (info.egress === 'enforced' ? defaultDenyEgress : 0) |
    (info.ingress === 'audit' ? defaultAuditIngress : 0) |
    (info.egress === 'audit' ? defaultAuditEgress : 0)
  );
}

const enforcementOf = (flags: number, deny: number, audit: number): Enforcement =>
  flags & deny ? 'enforced' : flags & audit ? 'audit' : 'off';

/** Endpoints and the policies that they are under. */
export class EnforcementMaps {
  readonly #endpoints: MapOf<typeof endpoints>;
  readonly #policy: MapOf<typeof policy>;
  readonly #info: MapOf<typeof policyInfo>;

  constructor(
    endpointMap: MapOf<typeof endpoints>,
    policyMap: MapOf<typeof policy>,
    infoMap: MapOf<typeof policyInfo>,
  ) {
    this.#endpoints = endpointMap;
    this.#policy = policyMap;
    this.#info = infoMap;
  }

  /**
   * Upserts, then deletes, then the set's row. Throws map-full with what was there in force as before. A set
   * that goes names its entries itself: the map may hold hundreds of thousands of others.
   */
  applySet(change: PolicySetChange): void {
    const { policyId } = change;
    const key = (entry: PolicyEntryKey): PolicyKey => ({
      policyId,
      identity: entry.identity,
      direction: directionNumber(entry.direction),
      protocol: entry.protocol,
      portBits: entry.prefixLength,
      port: entry.port,
    });
    const fresh: PolicyKey[] = [];
    const former: (readonly [PolicyKey, PolicyValue])[] = [];
    const rows = change.upserts.map((entry) => {
      const at = key(entry);
      const was = change.type === 'changed' ? this.#policy.get(at) : undefined;
      if (was === undefined) fresh.push(at);
      else former.push([at, was]);
      // Hits count connections, not writes: an entry that changes keeps its own.
      return [at, { flags: entry.flags, rule: entry.ruleId, hits: was?.hits ?? 0n }] as const;
    });
    try {
      this.#policy.setAll(rows);
    } catch (error) {
      // Half a change is nobody's policy, and would take the room that a smaller one needs.
      this.#policy.deleteAll(fresh);
      this.#policy.setAll(former);
      throw error;
    }
    this.#policy.deleteAll(change.deletes.map(key));
    if (change.type === 'removed') {
      this.#info.delete(policyId);
      return;
    }
    if (change.info === undefined) return;
    this.#info.set(policyId, {
      revision: change.info.revision,
      flags: infoFlags(change.info),
      portBits: Uint32Array.of(change.info.prefixLengths.ingress, change.info.prefixLengths.egress),
    });
  }

  /** The revision and defaults of a set that the kernel has, whoever wrote it. */
  knownSet(
    policyId: number,
  ):
    | { readonly revision: number; readonly ingress: Enforcement; readonly egress: Enforcement }
    | undefined {
    const row = this.#info.get(policyId);
    return (
      row && {
        revision: row.revision,
        ingress: enforcementOf(row.flags, defaultDenyIngress, defaultAuditIngress),
        egress: enforcementOf(row.flags, defaultDenyEgress, defaultAuditEgress),
      }
    );
  }

  putEndpoint(row: EndpointRow): void {
    const flags =
      (row.ingress === 'enforced' ? EndpointFlag.ingressEnforced : 0) |
      (row.egress === 'enforced' ? EndpointFlag.egressEnforced : 0) |
      (row.audit ? EndpointFlag.auditIngress | EndpointFlag.auditEgress : 0);
    const { address, ifindex, endpointId: id, identity, policyId, policyRevision } = row;
    this.#endpoints.set(
      { address },
      {
        ifindex,
        id,
        identity,
        policyId,
        policyRevision,
        mac: row.mac,
        hostMac: row.hostMac,
        flags,
      },
    );
  }

  deleteEndpoint(address: Address): void {
    this.#endpoints.delete({ address });
  }

  endpoint(address: Address): EndpointRow | undefined {
    const value = this.#endpoints.get({ address });
    return value && !(value.flags & EndpointFlag.host) ? this.#row(address, value) : undefined;
  }

  /** Rows of pods; the node's own addresses are left out. */
  *endpoints(): IterableIterator<EndpointRow> {
    for (const [{ address }, value] of this.#endpoints.entries()) {
      if (!(value.flags & EndpointFlag.host)) yield this.#row(address, value);
    }
  }

  /** Hits of every entry: new connections since the entry came. */
  *hits(): IterableIterator<PolicyEntryKey & { policyId: number; rule: number; hits: bigint }> {
    for (const [key, value] of this.#policy.entries()) {
      yield { ...entryKey(key), policyId: key.policyId, rule: value.rule, hits: value.hits };
    }
  }

  /** Deletes entries and sets that `keep` does not want (a set itself is asked for without a key). */
  prune(keep: (policyId: number, key: PolicyEntryKey | undefined) => boolean): number {
    const entries = this.#deleteEntries((key) => !keep(key.policyId, entryKey(key)));
    const sets = [...this.#info.keys()].filter((policyId) => !keep(policyId, undefined));
    return entries + this.#info.deleteAll(sets);
  }

  #deleteEntries(unwanted: (key: PolicyKey) => boolean): number {
    return this.#policy.deleteAll([...this.#policy.keys()].filter(unwanted));
  }

  /** What the defaults of an endpoint are: enforced stands in its row, audit in its set's. */
  #row(address: Address, value: EndpointValue): EndpointRow {
    const set = value.policyId === 0 ? undefined : this.knownSet(value.policyId);
    const enforcement = (flag: number, ofSet: Enforcement | undefined): Enforcement =>
      value.flags & flag ? 'enforced' : (ofSet ?? 'off');
    return {
      address,
      ifindex: value.ifindex,
      endpointId: value.id,
      identity: value.identity,
      policyId: value.policyId,
      policyRevision: value.policyRevision,
      mac: value.mac,
      hostMac: value.hostMac,
      ingress: enforcement(EndpointFlag.ingressEnforced, set?.ingress),
      egress: enforcement(EndpointFlag.egressEnforced, set?.egress),
      ...((value.flags & EndpointFlag.auditIngress) !== 0 && { audit: true }),
    };
  }
}

const entryKey = (key: PolicyKey): PolicyEntryKey => ({
  direction: key.direction === 0 ? 'ingress' : 'egress',
  identity: key.identity,
  protocol: key.protocol,
  prefixLength: key.portBits,
  port: key.port,
});
