import { type Log, messageWithCauses } from '@causeway/daemon';
import { Address } from '@causeway/ip';
import { EchoSocket } from '@causeway/linux';
import type { Clock } from '@causeway/tables';
import { EchoRounds, ROUND_MS, type Watched } from './echo-rounds.ts';

/** One host that is asked for echoes. */
export interface EchoAsker extends Disposable {
  send(sequence: number): number;
  heard(): readonly number[];
}

export type OpenEcho = (address: Address) => EchoAsker;

/** ICMP echoes of the kernel, told from others' by a number of this process. */
export const kernelEchoes: OpenEcho = (address) =>
  new EchoSocket(Address.toBytes(address), process.pid);

export interface GroupWatchOptions {
  readonly watched: () => readonly Watched[];
  readonly open: OpenEcho;
  readonly clock: Clock;
  /** After each round, for what follows from it. A round lasts as long. */
  readonly onRound: (rounds: EchoRounds) => Promise<void>;
  readonly log: Log;
}

/** Asks the others of the group for echoes, round by round, while this node belongs to it. */
export class GroupWatch implements AsyncDisposable {
  readonly #options: GroupWatchOptions;
  readonly #rounds = new EchoRounds();
  readonly #askers = new Map<string, { readonly address: Address; readonly asker: EchoAsker }>();
  /** Who cannot be asked, as without a route there, and why: tried again each round, told once. */
  readonly #unasked = new Map<string, string>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #sequence = 0;
  #told = '';

  constructor(options: GroupWatchOptions) {
    this.#options = options;
    this.#running = this.#run(this.#stop.signal);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, onRound, log } = this.#options;
    while (!signal.aborted) {
      try {
        this.#round();
        await onRound(this.#rounds);
        this.#told = '';
      } catch (error) {
        const text = messageWithCauses(error);
        if (text !== this.#told) log.warn({ error: text }, 'edge nodes cannot be watched');
        this.#told = text;
      }
      await clock.sleep(ROUND_MS, signal);
    }
  }

  #round(): void {
    const watched = this.#options.watched();
    this.#open(watched);
    this.#rounds.follow(watched);
    const last = this.#sequence;
    this.#sequence = (last + 1) & 0xffff;
    for (const [name, { asker }] of this.#askers) {
      // An answer to what was asked long ago says nothing of now.
      if (asker.heard().some((each) => ((last - each) & 0xffff) <= 1)) this.#rounds.heard(name);
    }
    this.#rounds.round();
    // Why one cannot be sent counts as silence does.
    for (const { asker } of this.#askers.values()) asker.send(this.#sequence);
  }

  #open(watched: readonly Watched[]): void {
    const wanted = new Map(watched.map(({ name, address }) => [name, address]));
    for (const [name, { address, asker }] of this.#askers) {
      if (wanted.get(name) === address) continue;
      asker[Symbol.dispose]();
      this.#askers.delete(name);
    }
    for (const name of this.#unasked.keys()) if (!wanted.has(name)) this.#unasked.delete(name);
    for (const [name, address] of wanted) {
      if (this.#askers.has(name)) continue;
      try {
        this.#askers.set(name, { address, asker: this.#options.open(address) });
        this.#unasked.delete(name);
      } catch (error) {
        this.#tell(name, address, messageWithCauses(error));
      }
    }
  }

  /** The others are watched all the same. */
  #tell(node: string, address: Address, error: string): void {
    if (this.#unasked.get(node) === error) return;
    this.#unasked.set(node, error);
    this.#options.log.warn({ node, address, error }, 'a node cannot be asked for echoes');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    for (const { asker } of this.#askers.values()) asker[Symbol.dispose]();
    this.#askers.clear();
  }
}
