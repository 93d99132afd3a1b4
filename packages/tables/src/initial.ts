import { Gate } from './gate.ts';

/** A source that has yet to deliver its first full state. */
export interface InitialSource {
  /** Idempotent. */
  done(): void;
}

/** The sources whose first full state must be in before anything is pruned. */
export class InitialSources {
  readonly #open = new Map<string, number>();
  readonly #initialized = new Gate();

  /** @param last called when this was the last source that was waited for. */
  add(name: string, last: () => void): InitialSource {
    this.#open.set(name, (this.#open.get(name) ?? 0) + 1);
    let open = true;
    return {
      done: () => {
        if (!open) return;
        open = false;
        const left = (this.#open.get(name) ?? 1) - 1;
        if (left > 0) this.#open.set(name, left);
        else this.#open.delete(name);
        if (!this.initialized) return;
        this.#initialized.open();
        last();
      },
    };
  }

  get initialized(): boolean {
    return this.#open.size === 0;
  }

  get pending(): readonly string[] {
    return [...this.#open.keys()];
  }

  /** Resolves once `initialized`; rejects with the signal's reason. */
  async whenInitialized(signal?: AbortSignal): Promise<void> {
    while (!this.initialized) {
      signal?.throwIfAborted();
      await this.#initialized.wait(signal);
    }
    signal?.throwIfAborted();
  }
}
