/** Which NOTIFICATION says why we end a session (RFC 4486, 8203 with 9003, 8538, 9384). */
import type { StopHow } from './events.ts';
import { Family, type FamilyKey } from './types.ts';
import {
  CeaseSubcode,
  ErrorCode,
  encodeShutdownText,
  hardReset,
  type NotificationMessage,
  notification,
} from './wire/notification.ts';

export interface Cease {
  readonly how: Exclude<StopHow, 'detach'> | 'collision' | 'bfd-down' | 'rejected';
  readonly text?: string;
  readonly family?: FamilyKey;
  readonly limit?: number;
}

const subcodes: Readonly<Record<Cease['how'], number>> = {
  'admin-shutdown': CeaseSubcode.adminShutdown,
  'admin-reset': CeaseSubcode.adminReset,
  'de-configured': CeaseSubcode.deconfigured,
  'config-change': CeaseSubcode.configChange,
  'max-prefix': CeaseSubcode.maxPrefixes,
  'out-of-resources': CeaseSubcode.outOfResources,
  'too-many-attributes': CeaseSubcode.outOfResources,
  collision: CeaseSubcode.collision,
  'bfd-down': CeaseSubcode.bfdDown,
  rejected: CeaseSubcode.rejected,
};

/** After these the neighbour must not go on using our routes: RFC 8538 section 3.1 wraps them. */
const final: ReadonlySet<Cease['how']> = new Set([
  'admin-shutdown',
  'admin-reset',
  'de-configured',
  'max-prefix',
  'too-many-attributes',
  'bfd-down',
]);

/** `graceful`: both sides agreed on NOTIFICATIONs that keep routes (RFC 8538). */
export function cease({ how, text, family, limit }: Cease, graceful: boolean): NotificationMessage {
  const message = notification(ErrorCode.cease, subcodes[how], dataOf(how, text, family, limit));
  return graceful && final.has(how) ? hardReset(message) : message;
}

function dataOf(
  how: Cease['how'],
  text: string | undefined,
  family: FamilyKey | undefined,
  limit: number | undefined,
): Uint8Array {
  if (text !== undefined && (how === 'admin-shutdown' || how === 'admin-reset')) {
    return encodeShutdownText(text);
  }
  if (how === 'max-prefix' && family !== undefined && limit !== undefined) {
    // RFC 4486 section 4: afi (2), safi (1), upper bound (4).
    const { afi, safi } = Family.row(family);
    const data = new Uint8Array(7);
    new DataView(data.buffer).setUint16(0, afi);
    data[2] = safi;
    new DataView(data.buffer).setUint32(3, limit);
    return data;
  }
  return new Uint8Array(0);
}
