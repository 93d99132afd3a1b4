import {
  type Asn,
  type Capability,
  decodeOpen,
  Family,
  type FamilyKey,
  familyTable,
  type OpenMessage,
  openAsn,
  type RouterId,
  type UpdateContext,
  UpdateParser,
} from '@causeway/bgp';
import type { PeerHeader, PeerUp, RibView, Statistic } from '@causeway/bmp';
import type { Cause } from '../cause.ts';
import { PrefixLog } from '../history/prefix-log.ts';

const BGP_HEADER = 19;

/** One table of one peer of a connected router. */
export class Feed {
  /** In the RIB. */
  readonly number: number;
  readonly peer: Peer;
  readonly view: RibView;
  /** By family: the table's first telling is not over. */
  readonly dumping: boolean[];
  lastUpdate = 0;
  /** Routes told while dumping, for the event that says so. */
  readonly log = new PrefixLog();

  constructor(number: number, peer: Peer, view: RibView) {
    this.number = number;
    this.peer = peer;
    this.view = view;
    this.dumping = familyTable.map(() => true);
  }

  restart(): void {
    this.dumping.fill(true);
    this.log.take();
  }
}

export interface PeerCounters {
  updates: number;
  announced: number;
  changed: number;
  withdrawn: number;
  malformed: number;
  mirrored: number;
}

/** One peer of a connected router: a BGP session, or the router's Loc-RIB. */
export class Peer {
  /** In the history. */
  readonly id: number;
  readonly key: string;
  readonly type: PeerHeader['type'];
  readonly distinguisher: bigint;
  /** Undefined for a Loc-RIB. */
  readonly address: string | undefined;
  asn: Asn;
  bgpId: RouterId;
  up = false;
  /** ms since 1970. */
  since = 0;
  ups = 0;
  downs = 0;
  lastDown: { readonly at: number; readonly cause: Cause } | undefined;
  local:
    | { readonly address?: string; readonly port: number; readonly remotePort: number }
    | undefined;
  tableName: string | undefined;
  sentOpen: OpenMessage | undefined;
  receivedOpen: OpenMessage | undefined;
  #opens: Uint8Array = new Uint8Array(0);
  statistics: readonly Statistic[] = [];
  statisticsAt: number | undefined;
  readonly feeds = new Map<RibView, Feed>();
  readonly counters: PeerCounters = {
    updates: 0,
    announced: 0,
    changed: 0,
    withdrawn: 0,
    malformed: 0,
    mirrored: 0,
  };

  constructor(id: number, key: string, header: PeerHeader) {
    this.id = id;
    this.key = key;
    this.type = header.type;
    this.distinguisher = header.distinguisher;
    this.address = header.type === 'loc-rib' ? undefined : header.address;
    this.asn = header.asn;
    this.bgpId = header.bgpId;
  }

  /** What a person calls it. */
  get name(): string {
    const instance = this.distinguisher === 0n ? '' : `@${formatDistinguisher(this.distinguisher)}`;
    return `${this.address ?? `loc-rib${this.tableName === undefined ? '' : ` ${this.tableName}`}`}${instance}`;
  }

  /** Some routers tell each session once for each table. */
  isSameUp(message: PeerUp): boolean {
    return this.up && Buffer.compare(this.#opens, bothOpens(message)) === 0;
  }

  setUp(message: PeerUp, now: number): void {
    this.up = true;
    this.since = now;
    this.ups += 1;
    this.asn = message.peer.asn;
    this.bgpId = message.peer.bgpId;
    this.local = {
      ...(message.localAddress === undefined ? {} : { address: message.localAddress }),
      port: message.localPort,
      remotePort: message.remotePort,
    };
    const name = message.information.find(({ type }) => type === 'tableName');
    this.tableName = name?.type === 'tableName' ? name.text : undefined;
    this.#opens = bothOpens(message);
    this.sentOpen = tryOpen(message.sentOpen);
    this.receivedOpen = tryOpen(message.receivedOpen);
    for (const feed of this.feeds.values()) feed.restart();
  }

  /** The identifier of the router itself, as its OPEN said. */
  get localId(): string {
    return this.sentOpen?.routerId ?? '0.0.0.0';
  }

  get localAsn(): Asn {
    return this.sentOpen === undefined ? (0 as Asn) : openAsn(this.sentOpen);
  }

  /** How the UPDATEs of a view are to be read. */
  parser(view: RibView, legacyAsPath: boolean): UpdateParser {
    const [sender, receiver] = view.startsWith('out-')
      ? [this.sentOpen, this.receivedOpen]
      : [this.receivedOpen, this.sentOpen];
    const context: UpdateContext = {
      fourOctetAs: !legacyAsPath,
      families: familyTable.map(({ key }) => key),
      addPath: familyTable
        .map(({ key }) => key)
        .filter((key) => sends(sender, key) && receives(receiver, key)),
      // Nothing is taken out of what the router tells.
      external: false,
      monitored: true,
    };
    return new UpdateParser(context);
  }
}

const bothOpens = ({ sentOpen, receivedOpen }: PeerUp): Uint8Array =>
  Buffer.concat([sentOpen, receivedOpen]);

/** OPENs made up for a Loc-RIB are not always sound; then there is no ADD-PATH either. */
function tryOpen(message: Uint8Array): OpenMessage | undefined {
  try {
    return decodeOpen(message.subarray(BGP_HEADER));
  } catch {
    return undefined;
  }
}

type AddPath = Extract<Capability, { type: 'add-path' }>['families'][number];

function addPathOf(open: OpenMessage | undefined, key: FamilyKey): AddPath['mode'] | undefined {
  const { afi, safi } = Family.row(key);
  const families = open?.capabilities.flatMap((one) =>
    one.type === 'add-path' ? one.families : [],
  );
  return families?.find(({ family }) => family.afi === afi && family.safi === safi)?.mode;
}

const sends = (open: OpenMessage | undefined, key: FamilyKey): boolean =>
  ['send', 'both'].includes(addPathOf(open, key) ?? '');
const receives = (open: OpenMessage | undefined, key: FamilyKey): boolean =>
  ['receive', 'both'].includes(addPathOf(open, key) ?? '');

/** RFC 4364 section 4.2: `65000:100`, `192.0.2.1:100`; anything else as hexadecimal digits. */
export function formatDistinguisher(value: bigint): string {
  const low = (bits: bigint): string => String(value & ((1n << bits) - 1n));
  const type = value >> 48n;
  if (type === 0n) return `${(value >> 32n) & 0xffffn}:${low(32n)}`;
  const administrator = Number((value >> 16n) & 0xffff_ffffn);
  if (type === 1n) {
    const octets = [24, 16, 8, 0].map((shift) => (administrator >>> shift) & 255);
    return `${octets.join('.')}:${low(16n)}`;
  }
  if (type === 2n) return `${administrator}:${low(16n)}`;
  return `0x${value.toString(16).padStart(16, '0')}`;
}
