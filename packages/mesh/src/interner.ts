/**
 * One string for many equal ones: host addresses and namespaces repeat in every entry. Bounded, so
 * that a hostile peer cannot make it grow; beyond the bound it starts anew.
 */
export class Interner {
  readonly #strings = new Map<string, string>();
  readonly #max: number;

  constructor(max = 65_536) {
    this.#max = max;
  }

  intern<S extends string>(text: S): S {
    const known = this.#strings.get(text);
    if (known !== undefined) return known as S;
    if (this.#strings.size >= this.#max) this.#strings.clear();
    this.#strings.set(text, text);
    return text;
  }
}
