import type { Netns } from '@causeway/linux';
import type { ConnectionId, Endpoints, PeerInput, PeerOutput } from '../events.ts';

/** What drives a core: the part of the speaker's face that sockets need. */
export interface ShellCore {
  /** ms at which `work` wants to be called; in the past: at once. */
  readonly deadline: number | undefined;
  work(now: number): void;
  input(peer: string, input: PeerInput, now: number): void;
  peerFor(endpoints: Endpoints): string | undefined;
  produce(
    peer: string,
    connection: ConnectionId,
    maxBytes: number,
    now: number,
  ): readonly Uint8Array[];
}

export type ShellEffect =
  | ({ readonly peer: string } & Extract<
      PeerOutput,
      { type: 'connect' | 'close' | 'send' | 'options' }
    >)
  | { readonly type: 'wake'; readonly peer: string; readonly connection: ConnectionId };

export interface ShellOptions {
  readonly core?: ShellCore;
  /** ms, monotonic. */
  readonly now?: () => number;
  /** Where sockets live; default: this process's namespace. */
  readonly ns?: Netns;
  /** Somebody connected whom the core does not know. The name of the peer made for it, or undefined: refused. */
  readonly onUnknown?: (endpoints: Endpoints) => string | undefined;
  readonly log?: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}
