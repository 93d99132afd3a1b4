import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { type Log, messageWithCauses } from '@causeway/daemon';
import { Address, type Family } from '@causeway/ip';
import type { Clock } from '@causeway/tables';
import type { OpenWords, Words } from './store-watch.ts';

/** UDP, on every address of an edge node. */
export const WORDS_PORT = 8473;
const ANSWER_MS = 300;
const MAX_BYTES = 512;

interface Message {
  readonly type: 'ask' | 'say';
  /** Of the asker, 16 hex digits: nobody who does not see the question can answer it. */
  readonly nonce: string;
  /** `ask`: the node that asks. `say`, that it is counted out; otherwise nothing is said. */
  readonly node: string;
}

/**
 * Words between edge nodes by UDP, one small JSON object each way; an answer is as long as its question. They decide
 * only where a node has lost the store, and then only that it stands back.
 */
export class UdpWords implements Words {
  readonly #isOut: (node: string) => boolean;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #port: number;
  readonly #sockets = new Map<Family, Socket>();
  readonly #waiting = new Map<string, { readonly from: string; readonly say: () => void }>();

  constructor(isOut: (node: string) => boolean, clock: Clock, log: Log, port = WORDS_PORT) {
    this.#isOut = isOut;
    this.#clock = clock;
    this.#log = log;
    this.#port = port;
    this.#open('ipv4');
    this.#open('ipv6');
  }

  #open(family: Family): void {
    const socket = createSocket(
      family === 'ipv4' ? { type: 'udp4' } : { type: 'udp6', ipv6Only: true },
    );
    socket.on('message', (bytes, from) => this.#hear(family, bytes, from));
    socket.on('error', (error) => {
      // The other nodes go by the store alone where it cannot be had.
      this.#log.warn({ family, error: messageWithCauses(error) }, 'edge nodes cannot ask this one');
      if (this.#sockets.delete(family)) socket.close();
    });
    socket.bind(this.#port);
    socket.unref();
    this.#sockets.set(family, socket);
  }

  async ask(address: Address, node: string): Promise<boolean> {
    const nonce = crypto.getRandomValues(new Uint8Array(8)).toHex();
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const done = new AbortController();
    this.#waiting.set(nonce, { from: address, say: () => resolve(true) });
    void this.#clock.sleep(ANSWER_MS, done.signal).then(() => resolve(false));
    this.#send(Address.family(address), { type: 'ask', nonce, node }, address, this.#port);
    try {
      return await promise;
    } finally {
      done.abort();
      this.#waiting.delete(nonce);
    }
  }

  #hear(family: Family, bytes: Uint8Array, from: RemoteInfo): void {
    const message = bytes.length <= MAX_BYTES ? parse(bytes) : undefined;
    if (message === undefined) return;
    const { type, nonce, node } = message;
    if (type === 'ask') {
      const said = { type: 'say', nonce, node } as const;
      if (this.#isOut(node)) this.#send(family, said, from.address, from.port);
      return;
    }
    const waiting = this.#waiting.get(nonce);
    if (waiting?.from === from.address) waiting.say();
  }

  #send(family: Family, message: Message, address: string, port: number): void {
    // Silence says as much as any error here.
    this.#sockets.get(family)?.send(JSON.stringify(message), port, address, () => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const open = [...this.#sockets.values()];
    this.#sockets.clear();
    await Promise.all(
      open.map((socket) => new Promise<void>((done) => socket.close(() => done()))),
    );
  }
}

export const udpWords: OpenWords = (isOut, clock, log) => new UdpWords(isOut, clock, log);

function parse(bytes: Uint8Array): Message | undefined {
  try {
    const value = JSON.parse(new TextDecoder().decode(bytes)) as Message | null;
    if (value?.type !== 'ask' && value?.type !== 'say') return undefined;
    const { type, nonce, node } = value;
    if (typeof nonce !== 'string' || !/^[0-9a-f]{16}$/.test(nonce)) return undefined;
    return typeof node === 'string' ? { type, nonce, node } : undefined;
  } catch {
    return undefined;
  }
}
