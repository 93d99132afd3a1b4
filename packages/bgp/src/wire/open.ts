import type { AfiSafi, Asn, FamilyKey, RouterId } from '../types.ts';

/** ADD-PATH Send/Receive (RFC 7911 section 4) from the sender of the capability's point of view. */
export type AddPathMode = 'receive' | 'send' | 'both';

/** One capability (RFC 5492), in the order of the message; unknown ones are kept as bytes. */
export type Capability =
  | { readonly type: 'multiprotocol'; readonly family: AfiSafi }
  | { readonly type: 'route-refresh' }
  | {
      readonly type: 'extended-next-hop';
      /** RFC 8950: NLRI of `family` may have next hops of `nextHopAfi`. */
      readonly entries: readonly { readonly family: AfiSafi; readonly nextHopAfi: number }[];
    }
  | { readonly type: 'extended-message' }
  | {
      readonly type: 'graceful-restart';
      /** R bit (RFC 4724). */
      readonly restarting: boolean;
      /** N bit (RFC 8538). */
      readonly notification: boolean;
      /** Seconds, 0 to 4095. */
      readonly restartTime: number;
      readonly families: readonly { readonly family: AfiSafi; readonly forwarding: boolean }[];
    }
  | { readonly type: 'four-octet-as'; readonly asn: Asn }
  | {
      readonly type: 'add-path';
      readonly families: readonly { readonly family: AfiSafi; readonly mode: AddPathMode }[];
    }
  | { readonly type: 'enhanced-route-refresh' }
  | {
      readonly type: 'long-lived-graceful-restart';
      readonly families: readonly {
        readonly family: AfiSafi;
        readonly forwarding: boolean;
        /** Seconds, 24 bits. */
        readonly staleTime: number;
      }[];
    }
  | { readonly type: 'fqdn'; readonly host: string; readonly domain: string }
  | { readonly type: 'unknown'; readonly code: number; readonly value: Uint8Array };

/** RFC 4271 section 4.2. */
export interface OpenMessage {
  readonly version: number;
  /** The 2-octet field: AS_TRANS when the number does not fit. `openAsn` gives the real one. */
  readonly myAs: number;
  /** Seconds. */
  readonly holdTime: number;
  readonly routerId: RouterId;
  readonly capabilities: readonly Capability[];
}

export type { AfiSafi, FamilyKey };
