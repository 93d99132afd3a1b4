import type { AfiSafi } from '../types.ts';

/** RFC 2918; `begin` and `end` are RFC 7313's BoRR and EoRR. */
export interface RouteRefreshMessage {
  readonly family: AfiSafi;
  readonly subtype: 'request' | 'begin' | 'end';
}
