import { Address } from '@causeway/ip';
import { decodeIp, decodePorts, type NamedPort, NO_PORTS } from '../codec/ip.ts';
import { MeshError } from '../errors.ts';
import { canonicalPlace } from './canonical.ts';
import type { RawEntry } from './entry.ts';
import { newPlace, placeOf } from './places.ts';

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const IP = bytesOf('{"IP":"');
const HOST = bytesOf('","Mask":null,"HostIP":"');
const ID = bytesOf(',"ID":');
const KEY = bytesOf(',"Key":');
const METADATA = bytesOf(',"Metadata":"');
const NAMESPACE = bytesOf(',"K8sNamespace":"');
const POD = bytesOf(',"K8sPodName":"');
const ACCOUNT = bytesOf(',"K8sServiceAccount":"');
const PORTS = bytesOf(',"NamedPorts":[');

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const CLOSE_BRACE = 0x7d;

/** Texts of hosts and of named ports that are remembered; beyond it the memory starts anew. */
const MAX_HOSTS = 16_384;
const MAX_PORT_TEXTS = 4096;

/**
 * Reads an entry from the bytes of its value. What stands as every Cilium writes it is read in one
 * pass; everything else goes to `decodeIp`, which decides alone what is right and says what is wrong.
 */
export class EntryDecoder {
  /** What was read last. */
  readonly raw: RawEntry = {
    ...newPlace(),
    identity: 0,
    host: undefined,
    encryptionKey: 0,
    ports: NO_PORTS,
    pod: undefined,
  };
  readonly #withPods: boolean;
  readonly #hosts = new Map<string, Address>();
  readonly #portTexts = new Map<string, readonly NamedPort[]>();
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;

  /** @param withPods whether the names of pods are wanted. */
  constructor(withPods: boolean) {
    this.#withPods = withPods;
  }

  /** @param rest the end of the key, which the value must repeat. Throws MeshError. */
  decode(rest: string, value: Uint8Array): RawEntry {
    if (this.#fast(rest, value)) return this.raw;
    const { raw } = this;
    const entry = decodeIp(new TextDecoder().decode(value));
    if (entry.address !== rest) {
      throw new MeshError(
        'mismatch',
        `IP ${entry.address} is not its key's ${rest}`,
        entry.address,
        'IP',
      );
    }
    placeOf(entry.address, raw);
    raw.identity = entry.identity;
    raw.host = entry.hostIP;
    raw.encryptionKey = entry.encryptionKey;
    raw.ports = entry.namedPorts;
    raw.pod = this.#withPods ? podName(entry.namespace, entry.pod) : undefined;
    return raw;
  }

  /** False for everything that is not exactly as expected, right or wrong. */
  #fast(rest: string, value: Uint8Array): boolean {
    const { raw } = this;
    this.#bytes = Buffer.isBuffer(value)
      ? value
      : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    this.#at = 0;
    if (!this.#literal(IP) || !this.#same(rest) || !this.#literal(HOST)) return false;
    const host = this.#plain();
    if (host === undefined || !this.#literal(ID)) return false;
    const identity = this.#number(0xffff_ffff);
    if (identity < 0 || !this.#literal(KEY)) return false;
    const key = this.#number(255);
    if (key < 0 || !this.#literal(METADATA) || !this.#skip()) return false;
    const namespace = this.#literal(NAMESPACE) ? this.#name() : '';
    const pod = this.#literal(POD) ? this.#name() : '';
    if (namespace === undefined || pod === undefined) return false;
    if (this.#literal(ACCOUNT) && !this.#skip()) return false;
    const ports = this.#literal(PORTS) ? this.#namedPorts() : NO_PORTS;
    if (ports === undefined) return false;
    if (this.#bytes[this.#at] !== CLOSE_BRACE || this.#at + 1 !== this.#bytes.length) return false;
    const address = host === '' ? undefined : this.#host(host);
    if (host !== '' && address === undefined) return false;
    if (!canonicalPlace(rest, raw)) return false;
    raw.identity = identity;
    raw.host = address;
    raw.encryptionKey = key;
    raw.ports = ports;
    raw.pod = podName(namespace, pod);
    return true;
  }

  /** A few hosts stand in very many entries. */
  #host(text: string): Address | undefined {
    let address = this.#hosts.get(text);
    if (address === undefined) {
      address = Address.tryParse(text);
      if (address === undefined) return undefined;
      if (this.#hosts.size >= MAX_HOSTS) this.#hosts.clear();
      this.#hosts.set(text, address);
    }
    return address;
  }

  #literal(expected: Uint8Array): boolean {
    const bytes = this.#bytes;
    const at = this.#at;
    for (let i = 0; i < expected.length; i++) if (bytes[at + i] !== expected[i]) return false;
    this.#at = at + expected.length;
    return true;
  }

  #same(text: string): boolean {
    const bytes = this.#bytes;
    const at = this.#at;
    for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
    this.#at = at + text.length;
    return true;
  }

  /** To behind the quote that ends a string without escapes, in ASCII. */
  #skip(): boolean {
    const bytes = this.#bytes;
    for (let at = this.#at; at < bytes.length; at++) {
      const byte = bytes[at]!;
      if (byte === QUOTE) {
        this.#at = at + 1;
        return true;
      }
      if (byte === BACKSLASH || byte < 0x20 || byte >= 0x80) return false;
    }
    return false;
  }

  #plain(): string | undefined {
    const start = this.#at;
    return this.#skip() ? this.#bytes.toString('latin1', start, this.#at - 1) : undefined;
  }

  /** As `plain`, but made only if somebody wants it. */
  #name(): string | undefined {
    if (this.#withPods) return this.#plain();
    return this.#skip() ? '' : undefined;
  }

  /** Digits without a leading zero; -1 if there are none, or too many. */
  #number(max: number): number {
    const bytes = this.#bytes;
    const start = this.#at;
    let number = 0;
    let at = start;
    for (; at < start + 10; at++) {
      const digit = bytes[at]! - 0x30;
      if (!(digit >= 0 && digit <= 9)) break;
      number = number * 10 + digit;
    }
    if (at === start || (bytes[start] === 0x30 && at > start + 1) || number > max) return -1;
    this.#at = at;
    return number;
  }

  /** Sets of ports repeat: each text is read once. */
  #namedPorts(): readonly NamedPort[] | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    let at = start;
    for (; bytes[at] !== CLOSE_BRACKET; at++) {
      const byte = bytes[at];
      if (byte === undefined || byte === BACKSLASH || byte < 0x20 || byte >= 0x80) return undefined;
    }
    const text = bytes.toString('latin1', start, at);
    let ports = this.#portTexts.get(text);
    if (ports === undefined) {
      try {
        ports = decodePorts(JSON.parse(`[${text}]`));
      } catch {
        return undefined;
      }
      if (this.#portTexts.size >= MAX_PORT_TEXTS) this.#portTexts.clear();
      this.#portTexts.set(text, ports);
    }
    this.#at = at + 1;
    return ports;
  }
}

function podName(namespace: string, pod: string): string | undefined {
  if (pod === '') return undefined;
  return namespace === '' ? pod : `${namespace}/${pod}`;
}
