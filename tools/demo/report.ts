/** Prints one line an expectation as it is met or missed, and counts. */
export class Report {
  readonly #started = performance.now();
  readonly #write: (line: string) => void;
  #met = 0;
  readonly #missed: string[] = [];

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  section(title: string): void {
    this.#write('');
    this.#write(title);
  }

  /** Something worth knowing that is not an expectation. */
  note(text: string): void {
    for (const line of text.split('\n')) this.#write(`        ${line}`);
  }

  check(what: string, met: boolean, detail: string): void {
    if (met) this.#met += 1;
    else this.#missed.push(`${what}: ${detail}`);
    this.#write(
      `  ${met ? 'ok  ' : 'FAIL'}  ${what}${met && detail === '' ? '' : `  (${detail})`}`,
    );
  }

  /** The end of it; true when every expectation was met. */
  summary(): boolean {
    const seconds = Math.round((performance.now() - this.#started) / 1000);
    this.section('Summary');
    this.#write(`  ${this.#met} expectations met, ${this.#missed.length} missed, in ${seconds} s`);
    for (const line of this.#missed) this.#write(`  missed: ${line}`);
    return this.#missed.length === 0 && this.#met > 0;
  }
}
