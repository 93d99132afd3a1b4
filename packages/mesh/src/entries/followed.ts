import { type InitialSource, InitialSources } from '@causeway/tables';

/** What tables offer to those who follow them, for what is no table: first lists, and word of changes. */
export abstract class Followed {
  readonly #listeners = new Set<() => void>();
  readonly #sources = new InitialSources();
  #announced = true;

  /** Names a source whose first list must be in before anything is pruned. Register before it starts. */
  source(name: string): InitialSource {
    return this.#sources.add(name, () => this.announce());
  }

  get initialized(): boolean {
    return this.#sources.initialized;
  }

  /** The sources that `initialized` waits for. */
  get pendingSources(): readonly string[] {
    return this.#sources.pending;
  }

  whenInitialized(signal?: AbortSignal): Promise<void> {
    return this.#sources.whenInitialized(signal);
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
