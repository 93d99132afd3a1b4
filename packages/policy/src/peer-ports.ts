import type { NamedPort } from './model.ts';

/** Named ports by identity. Pods of one identity may disagree, so each owner's ports are kept apart. */
export class PeerPorts {
  readonly #owners = new Map<
    string,
    { readonly identity: number; readonly ports: readonly NamedPort[] }
  >();
  readonly #byIdentity = new Map<number, Set<string>>();

  /** Whom the owner's ports counted for until now, if anybody. */
  identityOf(owner: string): number | undefined {
    return this.#owners.get(owner)?.identity;
  }

  /** All ports of all owners of the identity. */
  *of(identity: number): Generator<NamedPort> {
    for (const owner of this.#byIdentity.get(identity) ?? []) {
      yield* this.#owners.get(owner)?.ports ?? [];
    }
  }

  set(owner: string, identity: number, ports: readonly NamedPort[]): void {
    this.delete(owner);
    if (ports.length === 0) return;
    this.#owners.set(owner, { identity, ports });
    const owners = this.#byIdentity.get(identity) ?? new Set();
    this.#byIdentity.set(identity, owners.add(owner));
  }

  delete(owner: string): void {
    const known = this.#owners.get(owner);
    if (known === undefined) return;
    this.#owners.delete(owner);
    const owners = this.#byIdentity.get(known.identity);
    owners?.delete(owner);
    if (owners?.size === 0) this.#byIdentity.delete(known.identity);
  }
}
