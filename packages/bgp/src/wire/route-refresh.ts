import { BgpError } from '../errors.ts';
import type { AfiSafi } from '../types.ts';
import { frame, MessageType } from './message.ts';
import { ErrorCode, notification } from './notification.ts';

/** RFC 2918 section 3: afi (2), subtype (1), safi (1); `begin` and `end` are RFC 7313's BoRR and EoRR. */
export interface RouteRefreshMessage {
  readonly family: AfiSafi;
  readonly subtype: 'request' | 'begin' | 'end';
}

const subtypes = ['request', 'begin', 'end'] as const;

/** The whole message. */
export function encodeRouteRefresh({ family, subtype }: RouteRefreshMessage): Uint8Array {
  const { afi, safi } = family;
  return frame(
    MessageType.routeRefresh,
    Uint8Array.of(afi >>> 8, afi & 255, subtypes.indexOf(subtype), safi),
  );
}

/**
 * Undefined for a subtype that RFC 7313 section 5 makes us ignore. Throws BgpError `route-refresh-error` for a
 * wrong length; its answer carries the whole message, as that section wants.
 */
export function decodeRouteRefresh(body: Uint8Array): RouteRefreshMessage | undefined {
  if (body.length !== 4) {
    throw new BgpError('route-refresh-error', `a ROUTE-REFRESH of ${body.length} bytes, not 4`, {
      value: body.length,
      offset: 0,
      notification: notification(
        ErrorCode.routeRefresh,
        1,
        frame(MessageType.routeRefresh, body.slice()),
      ),
    });
  }
  const subtype = subtypes[body[2]!];
  if (subtype === undefined) return undefined;
  return { family: { afi: (body[0]! << 8) | body[1]!, safi: body[3]! }, subtype };
}
