import type {
  ConnectionId,
  Endpoints,
  ParsedUpdate,
  Peer,
  PeerInput,
  PeerOutput,
  ShellCore,
  ShellEffect,
} from '../index.ts';

/** A core of peers alone, without routes: what the shell's tests drive it with. */
export class PeerCore implements ShellCore {
  readonly peers = new Map<string, Peer>();
  readonly outputs: { readonly peer: string; readonly output: PeerOutput }[] = [];
  /** Whole messages that `produce` hands out, by peer. */
  readonly pending = new Map<string, Uint8Array[]>();
  /** Sees an update while it is valid. */
  onUpdate: (peer: string, update: ParsedUpdate) => void = () => {};
  readonly #effect: (effect: ShellEffect) => void;
  readonly #waiters: (() => void)[] = [];

  constructor(effect: (effect: ShellEffect) => void) {
    this.#effect = effect;
  }

  get deadline(): number | undefined {
    const all = [...this.peers.values()].map((peer) => peer.deadline ?? Number.POSITIVE_INFINITY);
    const first = Math.min(...all);
    return first === Number.POSITIVE_INFINITY ? undefined : first;
  }

  work(now: number): void {
    for (const [name, peer] of this.peers) {
      if ((peer.deadline ?? Number.POSITIVE_INFINITY) <= now) {
        this.input(name, { type: 'timer' }, now);
      }
    }
  }

  input(name: string, input: PeerInput, now: number): void {
    this.peers.get(name)?.handle(input, now, (output) => {
      if (
        output.type === 'connect' ||
        output.type === 'close' ||
        output.type === 'send' ||
        output.type === 'options'
      ) {
        this.#effect({ ...output, peer: name });
      }
      if (output.type === 'established') {
        this.#effect({ type: 'wake', peer: name, connection: output.connection });
      }
      if (output.type === 'update') this.onUpdate(name, output.update);
      this.outputs.push({ peer: name, output: output.type === 'update' ? { ...output } : output });
    });
    for (const wake of this.#waiters.splice(0)) wake();
  }

  peerFor({ remoteAddress }: Endpoints): string | undefined {
    for (const [name, { config }] of this.peers) {
      if (config.target.address === remoteAddress) return name;
    }
    return undefined;
  }

  produce(peer: string, _connection: ConnectionId, maxBytes: number): readonly Uint8Array[] {
    const queue = this.pending.get(peer) ?? [];
    const parts: Uint8Array[] = [];
    for (let bytes = 0; bytes < maxBytes && queue.length > 0; ) {
      const part = queue.shift() as Uint8Array;
      parts.push(part);
      bytes += part.length;
    }
    return parts;
  }

  of<T extends PeerOutput['type']>(
    peer: string,
    type: T,
  ): readonly Extract<PeerOutput, { type: T }>[] {
    return this.outputs
      .filter((one) => one.peer === peer && one.output.type === type)
      .map((one) => one.output as Extract<PeerOutput, { type: T }>);
  }

  /** Resolves when it holds; looks after each input. */
  async until(what: string, holds: () => boolean, ms = 20_000): Promise<void> {
    const end = performance.now() + ms;
    while (!holds()) {
      if (performance.now() > end) throw new Error(`${what}: not within ${ms} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 50);
        this.#waiters.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }
}
