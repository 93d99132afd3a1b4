import { Address } from '@causeway/ip';
import type { ConnectionId } from '../src/events.ts';
import type { SpeakerPeerConfig } from '../src/speaker/config.ts';
import type { SpeakerEffect } from '../src/speaker/types.ts';
import type { Speaker } from '../src/speaker.ts';
import { type Asn, Family, type FamilyKey, type RouterId } from '../src/types.ts';
import { decodeAttributes, encodeAttributes } from '../src/wire/attribute-codec.ts';
import type { PathAttributes } from '../src/wire/attributes.ts';
import type { Capability } from '../src/wire/capabilities.ts';
import { encodeKeepalive, frame, MessageType } from '../src/wire/message.ts';
import { NlriCursor, prefixOf } from '../src/wire/nlri.ts';
import { encodeOpen, myAsField } from '../src/wire/open.ts';
import type { NlriBlock } from '../src/wire/update.ts';
import { encodeEndOfRib, UpdateEncoder } from '../src/wire/update-encoder.ts';
import { UpdateParser } from '../src/wire/update-parser.ts';

export interface NeighborOptions {
  readonly config: SpeakerPeerConfig;
  readonly asn: Asn;
  readonly localAsn: Asn;
  readonly routerId: RouterId;
  readonly families?: readonly FamilyKey[];
  /** It sends and takes path identifiers. */
  readonly addPath?: boolean;
  readonly capabilities?: readonly Capability[];
}

/** What a neighbour has been told of one path. */
export interface Told {
  readonly attributes: PathAttributes;
  /** Hexadecimal. */
  readonly nextHop: string;
}

let nextConnection: ConnectionId = 1_000_000;

/** The far end of one session, without a network: it says what a test tells it to, and remembers what it is told. */
export class Neighbor {
  readonly options: NeighborOptions;
  readonly name: string;
  readonly #speaker: Speaker;
  connection: ConnectionId | undefined;
  /** By prefix, or by prefix and `#` identifier. */
  readonly table = new Map<string, Told>();
  readonly endOfRib = new Set<FamilyKey>();
  /** UPDATEs taken. */
  updates = 0;
  #parser: UpdateParser;

  constructor(speaker: Speaker, options: NeighborOptions) {
    this.#speaker = speaker;
    this.options = options;
    this.name = options.config.name;
    this.#parser = this.#newParser();
  }

  #families(): readonly FamilyKey[] {
    return this.options.families ?? ['ipv4-unicast'];
  }

  #newParser(): UpdateParser {
    return new UpdateParser({
      fourOctetAs: true,
      families: this.#families(),
      addPath: this.options.addPath === true ? this.#families() : [],
      external: this.options.asn !== this.options.localAsn,
    });
  }

  get isUp(): boolean {
    return this.connection !== undefined;
  }

  up(now: number): void {
    const { config, asn, routerId } = this.options;
    this.table.clear();
    this.endOfRib.clear();
    this.#parser = this.#newParser();
    this.connection = nextConnection++;
    this.#speaker.input(
      this.name,
      {
        type: 'accepted',
        connection: this.connection,
        endpoints: {
          localAddress: Address.parse('192.0.2.254'),
          localPort: 179,
          remoteAddress: config.target.address!,
          remotePort: 40_000,
        },
      },
      now,
    );
    const families = this.#families().map((key) => {
      const { afi, safi } = Family.row(key);
      return { afi, safi };
    });
    const capabilities: Capability[] = [
      ...families.map((family) => ({ type: 'multiprotocol' as const, family })),
      { type: 'route-refresh' },
      { type: 'enhanced-route-refresh' },
      { type: 'four-octet-as', asn },
      ...(this.options.addPath === true
        ? [
            {
              type: 'add-path' as const,
              families: families.map((family) => ({ family, mode: 'both' as const })),
            },
          ]
        : []),
      ...(this.options.capabilities ?? []),
    ];
    const open = encodeOpen({
      version: 4,
      myAs: myAsField(asn),
      // No keep-alives: a test's time may leap.
      holdTime: 0,
      routerId,
      capabilities,
    });
    this.send(
      open[18] === undefined || open[0] !== 0xff ? frame(MessageType.open, open) : open,
      now,
    );
    this.send(encodeKeepalive(), now);
    if (this.#speaker.peer(this.name)?.state !== 'established') {
      throw new Error(`${this.name} is not up: ${JSON.stringify(this.#speaker.peer(this.name))}`);
    }
  }

  down(now: number): void {
    const { connection } = this;
    this.connection = undefined;
    if (connection !== undefined)
      this.#speaker.input(this.name, { type: 'closed', connection }, now);
  }

  send(bytes: Uint8Array, now: number): void {
    const { connection } = this;
    if (connection !== undefined)
      this.#speaker.input(this.name, { type: 'bytes', connection, bytes }, now);
  }

  announce(
    family: FamilyKey,
    attributes: PathAttributes,
    nextHop: Uint8Array,
    prefixes: readonly (readonly [length: number, w0: number, pathId: number])[],
    now: number,
  ): void {
    const encoder = this.#encoder(family);
    const bytes = encodeAttributes(attributes);
    encoder.announce(bytes, 0, bytes.length, nextHop);
    for (const [length, w0, pathId] of prefixes) encoder.prefix(pathId, length, w0, 0, 0, 0);
    this.send(encoder.take(), now);
  }

  withdraw(
    family: FamilyKey,
    prefixes: readonly (readonly [length: number, w0: number, pathId: number])[],
    now: number,
  ): void {
    const encoder = this.#encoder(family);
    encoder.withdraw();
    for (const [length, w0, pathId] of prefixes) encoder.prefix(pathId, length, w0, 0, 0, 0);
    this.send(encoder.take(), now);
  }

  sayEndOfRib(family: FamilyKey, now: number): void {
    this.send(encodeEndOfRib(family), now);
  }

  #encoder(family: FamilyKey): UpdateEncoder {
    return new UpdateEncoder({
      family,
      addPath: this.options.addPath === true,
      fourOctetAs: true,
      maxMessage: 4096,
    });
  }

  /** Takes about so many bytes. False: there was nothing. */
  take(maxBytes: number, now: number): boolean {
    const { connection } = this;
    if (connection === undefined) return false;
    const parts = this.#speaker.produce(this.name, connection, maxBytes, now);
    this.read(Buffer.concat(parts));
    return parts.length > 0;
  }

  read(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const length = (bytes[at + 16]! << 8) | bytes[at + 17]!;
      if (bytes[at + 18] === MessageType.update) this.#update(bytes, at + 19, at + length);
      at += length;
    }
  }

  #update(bytes: Uint8Array, start: number, end: number): void {
    this.updates++;
    const update = this.#parser.parse(bytes, start, end);
    if (update.problem !== undefined)
      throw new Error(`${this.name} was sent ${JSON.stringify(update.problem)}`);
    if (update.endOfRib !== undefined) this.endOfRib.add(update.endOfRib);
    for (const block of update.withdrawn) this.#each(block, (key) => this.table.delete(key));
    for (const block of update.announced) {
      const attributes = decodeAttributes(
        update.attributeBytes,
        update.attributesStart,
        update.attributesEnd,
      );
      const nextHop = Buffer.from(
        block.bytes.subarray(block.nextHopStart, block.nextHopStart + block.nextHopLength),
      ).toString('hex');
      this.#each(block, (key) => this.table.set(key, { attributes, nextHop }));
    }
  }

  #each(block: NlriBlock, act: (key: string) => void): void {
    const cursor = new NlriCursor();
    cursor.reset(block);
    while (cursor.next()) {
      act(block.addPath ? `${prefixOf(cursor)}#${cursor.pathId >>> 0}` : prefixOf(cursor));
    }
  }
}

/** Wakes are of no interest to who takes when it likes. */
export const ignoreEffects = (_effect: SpeakerEffect): void => {};
