import type { Datapath, HostEndpoint } from '@causeway/datapath';
import type { Address } from '@causeway/ip';
import type { PolicyEntryKey, PolicySetChange } from '@causeway/policy';
import type { ProtectedSocket } from '../ipcache/protected.ts';
import { keyText } from '../policy/backlog.ts';

/**
 * Rows of the node's own addresses: whether a socket behind them is protected, and what the node is as an endpoint.
 * Until that is known it stays what an earlier run said, the policy set that it names included.
 */
export class HostRows {
  readonly #datapath: () => Datapath;
  readonly #isEndpoint: boolean;
  #addresses: readonly Address[] = [];
  #protected: readonly ProtectedSocket[] = [];
  #endpoint: HostEndpoint | undefined;
  /** The set that rows of an earlier run name, until they are written anew. */
  #keptSet: number | undefined;

  /** @param isEndpoint whether the node is, or will be, an endpoint. */
  constructor(datapath: () => Datapath, isEndpoint: boolean) {
    this.#datapath = datapath;
    this.#isEndpoint = isEndpoint;
  }

  setAddresses(addresses: readonly Address[]): void {
    this.#addresses = addresses;
    this.#write();
  }

  setProtected(sockets: readonly ProtectedSocket[]): void {
    this.#protected = sockets;
    this.#write();
  }

  setEndpoint(endpoint: HostEndpoint): void {
    this.#endpoint = endpoint;
    this.#write();
    this.#keptSet = undefined;
  }

  /** What an earlier run enforced is enforced no more; what it made known of the node stays. */
  putOnTrial(): void {
    this.#keep();
    if (this.#endpoint === undefined) return;
    this.#endpoint = { ...this.#endpoint, ingress: 'off', egress: 'off' };
    // Without the addresses every row would seem to be one too many.
    if (this.#addresses.length > 0) this.#write();
  }

  /** A set that was kept over a restart has nothing but what it is made of now. */
  written({ type, policyId, upserts }: PolicySetChange): void {
    if (type !== 'created' || policyId !== this.#keptSet) return;
    const keys = new Set(upserts.map(keyText));
    this.#datapath().enforcement.prune(
      (id, key) => id !== policyId || key === undefined || keys.has(keyText(key)),
    );
  }

  /** What to keep of policies besides: what the node's own rows name and nobody else wants. */
  keeping(keep: (policyId: number, key: PolicyEntryKey | undefined) => boolean): typeof keep {
    return (policyId, key) =>
      keep(policyId, key) || (policyId === this.#keptSet && !keep(policyId, undefined));
  }

  /** Takes up what an earlier run said of the node; returns all rows. */
  #keep() {
    const rows = Array.from(this.#datapath().nodeAddresses());
    if (this.#isEndpoint && this.#endpoint === undefined) {
      this.#endpoint = rows.find(({ endpoint }) => endpoint !== undefined)?.endpoint;
      this.#keptSet = this.#endpoint?.policyId;
    }
    return rows;
  }

  #write(): void {
    const datapath = this.#datapath();
    const guarded = new Set(this.#protected.map(({ address }) => address));
    const rows = this.#keep();
    const present = new Map(
      rows.map(({ address, isProtected, endpoint }) => [address, text(isProtected, endpoint)]),
    );
    const endpoint = this.#endpoint;
    for (const address of this.#addresses) {
      const isProtected = guarded.has(address);
      if (present.get(address) !== text(isProtected, endpoint))
        datapath.putNodeAddress(address, { isProtected, ...(endpoint && { endpoint }) });
      present.delete(address);
    }
    for (const address of present.keys()) datapath.deleteNodeAddress(address);
  }
}

const text = (isProtected: boolean, endpoint: HostEndpoint | undefined): string =>
  `${isProtected} ${endpoint === undefined ? '' : [endpoint.id, endpoint.identity, endpoint.policyId, endpoint.policyRevision, endpoint.ingress, endpoint.egress].join(' ')}`;
