import { ByteWriter } from '@causeway/wire';
import { callError, LinuxError, type NetlinkError } from '../errors.ts';
import { Fd } from '../fd.ts';
import { lastErrno, libc } from '../ffi/libc.ts';
import type { Netns } from '../netns.ts';
import { setSocketOption } from '../socket-options.ts';
import {
  NlFlag,
  type NlMessage,
  NlType,
  parseMessages,
  type RtRequest,
  readAck,
  writeMessage,
} from './message.ts';

const netlinkFamily = 16; // AF_NETLINK
const rawSocket = 3;
const closeOnExec = 0x80000;
const netlinkLevel = 270; // SOL_NETLINK
const option = { addMembership: 1, capAck: 10, extAck: 11, strictCheck: 12 } as const;
const receiveTimeout = { level: 1, name: 20 }; // SO_RCVTIMEO
const receiveBufferForce = { level: 1, name: 33 }; // SO_RCVBUFFORCE
const truncate = 0x20; // MSG_TRUNC

/** A dump's datagrams are up to 32 KiB; no answer is longer. */
const bufferSize = 65536;
/** Acknowledgements wait in the socket's buffer until we read them: so many fit with ease. */
const mostPerSend = 64;
const mostInterruptions = 20;

/** An AF_NETLINK route socket in `ns`, whatever namespace we are in. */
export function openRouteSocket(ns: Netns | undefined, flags = 0): Fd {
  const open = () => {
    const number = libc.socket(netlinkFamily, rawSocket | closeOnExec | flags, 0);
    if (number < 0) throw callError('open netlink socket', lastErrno());
    return Fd.adopt(number, 'netlink socket');
  };
  const fd = ns === undefined ? open() : ns.run(open);
  try {
    for (const name of [option.extAck, option.capAck, option.strictCheck]) {
      setSocketOption(fd.number, { level: netlinkLevel, name }, 1);
    }
    return fd;
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** For events: the kernel passes over sockets that were never bound, as their port is its own, 0. */
export function bindRouteSocket(fd: Fd): void {
  const name = new Uint8Array(12); // struct sockaddr_nl
  name[0] = netlinkFamily;
  if (libc.bind(fd.number, name, name.length) < 0) {
    throw callError('bind netlink socket', lastErrno());
  }
}

export function joinGroup(fd: Fd, group: number): void {
  setSocketOption(fd.number, { level: netlinkLevel, name: option.addMembership }, group);
}

/** One datagram into `buffer`: a view of it, or the errno. */
export function receive(fd: Fd, buffer: Uint8Array, flags = 0): Uint8Array | number {
  const length = libc.recv(fd.number, buffer, buffer.length, flags | truncate);
  if (length < 0) return lastErrno();
  if (length > buffer.length) {
    throw new LinuxError('netlink-malformed', `netlink datagram of ${length} bytes`, {
      operation: 'receive',
      value: length,
    });
  }
  return buffer.subarray(0, length);
}

/**
 * Requests and their answers, synchronously. The kernel works a route request off inside send(2),
 * so its answer waits in the socket before we ask for it: nothing here blocks on anything but the
 * kernel's own lock.
 */
export class NetlinkTransport implements Disposable {
  readonly #fd: Fd;
  readonly #buffer = new Uint8Array(bufferSize);
  #sequence = 0;

  constructor(ns?: Netns) {
    this.#fd = openRouteSocket(ns);
    try {
      // Only a fault in the kernel or here could make an answer stay out.
      const timeval = new Uint8Array(BigInt64Array.of(10n, 0n).buffer);
      setSocketOption(this.#fd.number, receiveTimeout, timeval);
      setSocketOption(this.#fd.number, receiveBufferForce, 1 << 20);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Sends all, several in one system call, and gives each one's refusal or undefined. */
  exchange(requests: readonly RtRequest[]): (NetlinkError | undefined)[] {
    const results: (NetlinkError | undefined)[] = [];
    // A request may need what an earlier one's follow-up does: so the batch is cut after each.
    let start = 0;
    for (let at = 0; at < requests.length; at++) {
      const last = at === requests.length - 1;
      const more = requests[at]!.followUps !== undefined;
      if (!last && !more && at - start < mostPerSend - 1) continue;
      const part = requests.slice(start, at + 1);
      results.push(...this.#exchangeSome(part));
      if (more) results[at] ??= this.#follow(requests[at]!);
      start = at + 1;
    }
    return results;
  }

  #follow(request: RtRequest): NetlinkError | undefined {
    for (const { request: next, namespace } of request.followUps ?? []) {
      using other = namespace && new NetlinkTransport(namespace);
      const [error] = (other ?? this).exchange([next]);
      if (error === undefined) continue;
      if (request.undo !== undefined) this.exchange([request.undo]);
      return error;
    }
    return undefined;
  }

  #exchangeSome(requests: readonly RtRequest[]): (NetlinkError | undefined)[] {
    const writer = new ByteWriter('little', 512 * requests.length);
    const results: (NetlinkError | undefined)[] = requests.map(() => undefined);
    const waiting = new Map<number, number>();
    for (const [index, { type, flags, body }] of requests.entries()) {
      const sequence = this.#nextSequence();
      waiting.set(sequence, index);
      writeMessage(writer, { type, flags: flags | NlFlag.request | NlFlag.ack, body }, sequence);
    }
    this.#send(writer.finish());
    while (waiting.size > 0) {
      for (const message of this.#receive()) {
        const index = waiting.get(message.sequence);
        if (index === undefined || message.type !== NlType.error) continue;
        waiting.delete(message.sequence);
        results[index] = readAck(message, requests[index]!);
      }
    }
    return results;
  }

  /** A request with one answer before its acknowledgement; undefined if the kernel gave none. */
  ask(request: RtRequest): { answer: Uint8Array | undefined; error: NetlinkError | undefined } {
    const sequence = this.#nextSequence();
    const writer = new ByteWriter('little', 256);
    const flags = request.flags | NlFlag.request | NlFlag.ack;
    writeMessage(writer, { type: request.type, flags, body: request.body }, sequence);
    this.#send(writer.finish());
    let answer: Uint8Array | undefined;
    for (;;) {
      for (const message of this.#receive()) {
        if (message.sequence !== sequence) continue;
        if (message.type === NlType.error) return { answer, error: readAck(message, request) };
        answer = message.payload.slice();
      }
    }
  }

  /**
   * A dump, each entry decoded as it comes. When the kernel says that what it listed changed under
   * way (NLM_F_DUMP_INTR) it is taken again from the start; code busy when that does not end.
   */
  dump<T>(request: RtRequest, decode: (payload: Uint8Array) => T | undefined): T[] {
    for (let attempt = 0; attempt < mostInterruptions; attempt++) {
      const result = this.#dumpOnce(request, decode);
      if (result !== undefined) return result;
    }
    throw new LinuxError('busy', `${request.name}: what is listed changes too fast`, {
      operation: request.name,
    });
  }

  #dumpOnce<T>(request: RtRequest, decode: (payload: Uint8Array) => T | undefined) {
    const sequence = this.#nextSequence();
    const writer = new ByteWriter('little', 256);
    const flags = request.flags | NlFlag.request | NlFlag.dump;
    writeMessage(writer, { type: request.type, flags, body: request.body }, sequence);
    this.#send(writer.finish());
    const rows: T[] = [];
    let interrupted = false;
    let undecodable: unknown;
    for (;;) {
      for (const message of this.#receive()) {
        if (message.sequence !== sequence) continue;
        interrupted ||= (message.flags & NlFlag.dumpInterrupted) !== 0;
        if (message.type === NlType.done || message.type === NlType.error) {
          const error = readAck(message, request) ?? undecodable;
          if (error !== undefined) throw error;
          return interrupted ? undefined : rows;
        }
        try {
          const row = decode(message.payload);
          if (row !== undefined) rows.push(row);
        } catch (error) {
          // Read on to the end: a socket with a dump half read refuses the next one.
          undecodable ??= error;
        }
      }
    }
  }

  close(): void {
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return this.#sequence;
  }

  #send(bytes: Uint8Array): void {
    if (libc.send(this.#fd.number, bytes, bytes.length, 0) < 0) {
      throw callError('send to netlink', lastErrno());
    }
  }

  #receive(): NlMessage[] {
    for (;;) {
      const datagram = receive(this.#fd, this.#buffer);
      if (typeof datagram !== 'number') return parseMessages(datagram);
      if (datagram === 4) continue; // EINTR
      if (datagram === 11) {
        throw new LinuxError('timeout', 'the kernel gave no answer to a netlink request', {
          operation: 'receive',
        });
      }
      throw callError('receive from netlink', datagram);
    }
  }
}
