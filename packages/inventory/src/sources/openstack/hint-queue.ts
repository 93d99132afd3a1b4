/** What is to be asked for by itself. */
export type Errand =
  | { readonly type: 'port'; readonly id: string }
  | { readonly type: 'server'; readonly id: string }
  /** The ports of a server. */
  | { readonly type: 'device'; readonly id: string }
  | { readonly type: 'names' };

/** Errands in the order in which they came, each once; bounded, for those who notify may be many. */
export class HintQueue {
  readonly #waiting = new Map<string, Errand>();
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** False if it is full: only a full list finds what was to be asked. */
  add(errand: Errand): boolean {
    const key = keyOf(errand);
    if (this.#waiting.has(key)) return true;
    if (this.#waiting.size >= this.#most) return false;
    this.#waiting.set(key, errand);
    return true;
  }

  /** The next errand, or as many of ports in a row as one question may name. */
  take(ports: number): Errand[] {
    const taken: Errand[] = [];
    for (const [key, errand] of this.#waiting) {
      if (taken.length > 0 && (errand.type !== 'port' || taken.length >= ports)) break;
      this.#waiting.delete(key);
      taken.push(errand);
      if (errand.type !== 'port') break;
    }
    return taken;
  }

  clear(): void {
    this.#waiting.clear();
  }
}

const keyOf = (errand: Errand): string =>
  errand.type === 'names' ? 'names' : `${errand.type}:${errand.id}`;
