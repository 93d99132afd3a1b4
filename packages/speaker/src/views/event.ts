import type { SpeakerEvent } from '@causeway/bgp';
import type { BfdState } from '../bfd.ts';
import { downView } from './down.ts';
import { negotiatedView } from './peer.ts';
import { instant } from './time.ts';

/** What the program itself tells besides the core's events. */
export type OwnEvent =
  | { readonly type: 'config'; readonly owner: string; readonly changed: number }
  | { readonly type: 'bfd'; readonly peer: string; readonly state: BfdState }
  | {
      readonly type: 'dynamic-refused';
      readonly range: string;
      readonly address: string;
      readonly limit: number;
    }
  | { readonly type: 'bmp'; readonly station: string; readonly state: string };

/** One line of `GET /v1/events`. */
export type EventView = {
  readonly type: string;
  readonly at: string;
  readonly peer?: string;
} & Readonly<Record<string, unknown>>;

export function eventView(event: SpeakerEvent | OwnEvent, now: number): EventView {
  const at = instant(now);
  switch (event.type) {
    case 'peer-up': {
      const { type, peer, negotiated } = event;
      return {
        type,
        at,
        peer,
        address: negotiated.endpoints.remoteAddress,
        negotiated: negotiatedView(negotiated),
      };
    }
    case 'peer-down': {
      const { type, peer, reason, established, retained } = event;
      return {
        type,
        at,
        peer,
        established,
        ...downView(reason),
        retained: retained.map(({ family, until }) => ({ family, until: instant(until) })),
      };
    }
    default:
      return { at, ...event };
  }
}
