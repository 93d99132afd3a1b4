import { MeshError } from '../errors.ts';

/**
 * Which cluster of the mesh has which id. An id is held from the first cluster-config that shows it until the
 * peer is given up, so that a second claim, by accident or not, changes nothing for the first.
 */
export class ClusterIds {
  readonly #own: { readonly name: string; readonly id: number };
  readonly #holders = new Map<number, string>();

  constructor(own: { readonly name: string; readonly id: number }) {
    this.#own = own;
    this.#holders.set(own.id, own.name);
  }

  /** @throws MeshError `id-clash` that names both. */
  reserve(id: number, name: string): void {
    const holder = this.#holders.get(id);
    if (holder !== undefined && holder !== name) {
      const whose = holder === this.#own.name ? 'this cluster' : 'cluster';
      throw new MeshError(
        'id-clash',
        `cluster ${name} says it has id ${id}, which ${whose} ${holder} has; give one of them another id`,
        id,
        'id',
      );
    }
    this.release(name);
    this.#holders.set(id, name);
  }

  /** What a peer holds is free again. */
  release(name: string): void {
    if (name === this.#own.name) return;
    for (const [id, holder] of this.#holders) if (holder === name) this.#holders.delete(id);
  }
}
