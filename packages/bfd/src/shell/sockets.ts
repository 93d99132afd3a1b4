import { randomInt } from 'node:crypto';
import { Address } from '@causeway/ip';
import {
  attachSocketFilter,
  errnoName,
  interfaceIndex,
  LinuxError,
  type Netns,
  refuseAll,
  SocketOption,
  setSocketOption,
  UdpReceiver,
  UdpSender,
} from '@causeway/linux';
import { BfdError } from '../errors.ts';
import type { SessionProblem } from '../row.ts';
import type { Seal } from '../seal.ts';
import type { Session } from '../session.ts';
import { bfdPort, type Hops, sourcePorts } from '../values.ts';
import { inletFilter } from './filter.ts';

/** A socket that takes packets of all sessions of one kind and family. */
export interface Inlet {
  readonly receiver: UdpReceiver;
  readonly hops: Hops;
  readonly family: 'ipv4' | 'ipv6';
}

const unspecified = { ipv4: new Uint8Array(4), ipv6: new Uint8Array(16) };
const batch = 32;
/** The longest packet has 52 bytes; what is longer is one with something behind it. */
const bufferSize = 64;
/** A backlog of seconds, should the whole machine stand still. */
const receiveBuffer = 4 << 20;

const addressInUse = 98;
const addressNotHere = 99;
/** Microseconds. */
const retryAfter = 1_000_000;
const openedInOneTurn = 16;
/** The device or the address under the socket is gone: another socket is needed. ENXIO, ENODEV, EINVAL, EADDRNOTAVAIL */
const deadSocket = new Set([6, 19, 22, 99]);

/** RFC 5881 section 4 and RFC 5883 section 5: both ports for both families. They take nothing yet. */
export function openInlets(ns: Netns | undefined): Inlet[] {
  const inlets: Inlet[] = [];
  try {
    for (const hops of ['single', 'multi'] as const)
      for (const family of ['ipv4', 'ipv6'] as const) {
        const receiver = openReceiver(ns, hops, family);
        inlets.push({ receiver, hops, family });
        const fd = receiver.fd.number;
        setSocketOption(fd, SocketOption.receiveBufferForce, receiveBuffer);
        attachSocketFilter(fd, refuseAll);
      }
    return inlets;
  } catch (error) {
    for (const { receiver } of inlets) receiver.close();
    throw error;
  }
}

/** Lets the inlets take what is for these sessions. */
export function filterInlets(
  inlets: readonly Inlet[],
  seal: Seal,
  sessions: Iterable<Session>,
): void {
  const peers: Record<Hops, Address[]> = { single: [], multi: [] };
  for (const { spec } of sessions) peers[spec.hops].push(spec.remote);
  for (const { receiver, hops, family } of inlets)
    attachSocketFilter(receiver.fd.number, inletFilter(hops, family, seal, peers[hops]));
}

function openReceiver(ns: Netns | undefined, hops: Hops, family: 'ipv4' | 'ipv6'): UdpReceiver {
  const port = bfdPort[hops];
  try {
    return new UdpReceiver({
      ...(ns === undefined ? {} : { ns }),
      address: unspecified[family],
      port,
      batch,
      bufferSize,
    });
  } catch (cause) {
    if (!(cause instanceof LinuxError) || cause.errno !== addressInUse) throw cause;
    throw new BfdError('port-taken', `UDP port ${port} (${family}) is taken`, {
      field: 'port',
      value: port,
      hint: 'another BFD runs in this network namespace; only one can',
      cause,
    });
  }
}

/** What sessions send by: each has a socket and, as RFC 5881 section 4 wants it, a source port of its own. */
export class Outlets implements Disposable {
  readonly #ns: Netns | undefined;
  readonly #senders = new Map<Session, { readonly sender: UdpSender; readonly port: number }>();
  readonly #ports = new Set<number>();
  readonly #problems = new Map<Session, SessionProblem>();
  /** Those without a socket: not tried yet, and tried, with when to try again, the soonest first. */
  readonly #fresh = new Set<Session>();
  readonly #failed = new Map<Session, number>();

  constructor(ns: Netns | undefined) {
    this.#ns = ns;
  }

  problemOf(session: Session): SessionProblem | undefined {
    return this.#problems.get(session);
  }

  /** A new session, or one whose socket has died: it gets one when its turn comes. */
  await(session: Session): void {
    if (!this.#senders.has(session) && !this.#failed.has(session)) this.#fresh.add(session);
  }

  /** When `openSome` has something to try. */
  get nextAttempt(): number {
    if (this.#fresh.size > 0) return 0;
    for (const at of this.#failed.values()) return at;
    return Number.POSITIVE_INFINITY;
  }

  /**
   * Tries those that wait and tells of each, and whether its problem is another now. Not all at once: a
   * thousand sockets take a tenth of a second, in which those that are up already would send nothing.
   */
  openSome(now: number, tried: (session: Session, news: boolean) => void): void {
    let left = openedInOneTurn;
    const attempt = (session: Session) => {
      left--;
      const before = this.#problems.get(session)?.code;
      this.#fresh.delete(session);
      this.#failed.delete(session);
      // At the end: the map stays in the order of its times.
      if (!this.#open(session)) this.#failed.set(session, now + retryAfter);
      tried(session, this.#problems.get(session)?.code !== before);
    };
    for (const session of this.#fresh) {
      if (left === 0) return;
      attempt(session);
    }
    for (const [session, at] of this.#failed) {
      if (left === 0 || at > now) return;
      attempt(session);
    }
  }

  /** What fails is counted and remembered. */
  send(session: Session, bytes: Uint8Array): void {
    const open = this.#senders.get(session);
    if (open === undefined) {
      // Before the first attempt nothing has failed: the packet goes once there is a socket.
      if (this.#problems.has(session)) session.sendErrors++;
      else session.sent--;
      return;
    }
    const errno = open.sender.send(bytes);
    if (errno === 0) {
      if (this.#problems.size > 0) this.#problems.delete(session);
      return;
    }
    session.sendErrors++;
    this.#problems.set(session, {
      code: 'send-failed',
      message: `the last packet could not be sent: ${errnoName(errno)}`,
    });
    // A socket on a device that is gone may say no more than that the network is unreachable.
    if (!deadSocket.has(errno) && this.#indexOf(session) === session.interfaceIndex) return;
    this.#close(session);
    this.await(session);
  }

  /** The number of the session's device as it is now; 0 where there is none, or none wanted. */
  #indexOf({ spec: { interface: device } }: Session): number {
    if (device === undefined) return 0;
    const lookUp = () => interfaceIndex(device) ?? 0;
    return this.#ns === undefined ? lookUp() : this.#ns.run(lookUp);
  }

  #open(session: Session): boolean {
    try {
      const problem = this.#tryOpen(session);
      if (problem === undefined) this.#problems.delete(session);
      else this.#problems.set(session, problem);
      return problem === undefined;
    } catch (error) {
      const gone = error instanceof LinuxError && error.errno === addressNotHere;
      this.#problems.set(session, {
        code: gone ? 'address-missing' : 'system',
        message: gone
          ? `the local address ${session.spec.local ?? ''} is not on this machine`
          : (error as Error).message,
      });
      return false;
    }
  }

  #tryOpen(session: Session): SessionProblem | undefined {
    const { remote, local, hops, interface: device } = session.spec;
    session.interfaceIndex = this.#indexOf(session);
    if (device !== undefined && session.interfaceIndex === 0)
      return { code: 'interface-missing', message: `there is no interface ${device}` };
    const scope = session.interfaceIndex;
    for (let tries = 0; tries < 64; tries++) {
      const port = randomInt(sourcePorts.first, sourcePorts.last + 1);
      if (this.#ports.has(port)) continue;
      try {
        const sender = new UdpSender({
          ...(this.#ns === undefined ? {} : { ns: this.#ns }),
          address:
            local === undefined ? unspecified[Address.family(remote)] : Address.toBytes(local),
          port,
          ...(device === undefined ? {} : { device }),
          scope,
          remote: { address: Address.toBytes(remote), port: bfdPort[hops], scope },
          // "MUST be sent with a TTL or Hop Limit value of 255" (RFC 5881 section 5).
          ttl: 255,
          trafficClass: 0xc0, // CS6, network control
        });
        this.#senders.set(session, { sender, port });
        this.#ports.add(port);
        return undefined;
      } catch (error) {
        if (!(error instanceof LinuxError) || error.errno !== addressInUse) throw error;
      }
    }
    return { code: 'no-source-port', message: 'no free source port was found in 64 tries' };
  }

  #close(session: Session): void {
    const open = this.#senders.get(session);
    if (open === undefined) return;
    open.sender.close();
    this.#senders.delete(session);
    this.#ports.delete(open.port);
  }

  /** The session is gone. */
  forget(session: Session): void {
    this.#close(session);
    this.#fresh.delete(session);
    this.#failed.delete(session);
    this.#problems.delete(session);
  }

  [Symbol.dispose](): void {
    for (const session of [...this.#senders.keys()]) this.forget(session);
  }
}
