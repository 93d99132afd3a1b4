import { Gate, type InitialSource } from '@causeway/tables';

/** What tables offer to those who follow them, for what is no table: first lists, and word of changes. */
export abstract class Followed {
  readonly #listeners = new Set<() => void>();
  readonly #sources = new Map<string, number>();
  readonly #initialized = new Gate();
  #announced = true;

  /** Names a source whose first list must be in before anything is pruned. Register before it starts. */
  source(name: string): InitialSource {
    this.#sources.set(name, (this.#sources.get(name) ?? 0) + 1);
    let open = true;
    return {
      done: () => {
        if (!open) return;
        open = false;
        const left = (this.#sources.get(name) ?? 1) - 1;
        if (left > 0) this.#sources.set(name, left);
        else this.#sources.delete(name);
        if (!this.initialized) return;
        this.#initialized.open();
        this.announce();
      },
    };
  }

  get initialized(): boolean {
    return this.#sources.size === 0;
  }

  /** The sources that `initialized` waits for. */
  get pendingSources(): readonly string[] {
    return [...this.#sources.keys()];
  }

  async whenInitialized(signal?: AbortSignal): Promise<void> {
    while (!this.initialized) {
      signal?.throwIfAborted();
      await this.#initialized.wait(signal);
    }
    signal?.throwIfAborted();
  }

  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Listeners hear once of all that one call stack changed. */
  protected announce(): void {
    if (!this.#announced) return;
    this.#announced = false;
    queueMicrotask(() => {
      this.#announced = true;
      for (const listener of [...this.#listeners]) listener();
    });
  }
}
