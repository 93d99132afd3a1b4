/** What the router under test is told, in words that each contender translates into its own configuration. */

export interface ScenarioPeer {
  readonly address: string;
  readonly asn: number;
}

export interface Scenario {
  /** The router under test. */
  readonly router: ScenarioPeer;
  /** Those that announce; all external, each with an AS of its own. */
  readonly testers: readonly ScenarioPeer[];
  /** True: testers are sent the others' routes as well. False: an export policy keeps everything from them. */
  readonly testersReceive: boolean;
  /** Gets everything. */
  readonly monitor?: ScenarioPeer;
  /** Put on every route to the monitor by its export policy: "65000:7". */
  readonly community?: string;
  /** Clients of a route reflector, taken from a range without being named. */
  readonly clients?: { readonly range: string; readonly limit: number };
}

const RANGE = 80;

export const ROUTER: ScenarioPeer = { address: `10.${RANGE}.0.1`, asn: 65_000 };
export const MONITOR: ScenarioPeer = { address: `10.${RANGE}.0.2`, asn: 64_999 };
/** The link in front of routed clients. */
export const LINK = { router: '10.79.0.1', load: '10.79.0.2' } as const;
export const CLIENT_RANGE = `10.${RANGE}.0.0/16`;
/** The tester with index i has the AS TESTER_BASE + 1 + i. */
export const TESTER_BASE = 65_100;

/** The address of the load's peer with this index. */
export function peerAddress(index: number): string {
  const number = 256 + index;
  return `10.${RANGE}.${number >> 8}.${number & 255}`;
}

export function testers(count: number): ScenarioPeer[] {
  return Array.from({ length: count }, (_, index) => ({
    address: peerAddress(index),
    asn: TESTER_BASE + 1 + index,
  }));
}
