import type { MapDeclaration } from '../map-declaration.ts';
import {
  conntrack,
  eventBudget,
  fragments,
  nat,
  natExceptions,
  runtime,
  virtuals,
} from './conntrack.ts';
import { egressRoutes } from './egress.ts';
import { devices, endpoints } from './endpoints.ts';
import { ipcache, ipcacheCidr, lifelines, protectedSockets } from './ipcache.ts';
import { policy, policyInfo } from './policy.ts';
import {
  affinity,
  backends,
  reverseNat,
  scratch,
  services,
  slots,
  socketReverseNat,
  sourceRanges,
  stages,
} from './services.ts';
import { events, metrics } from './telemetry.ts';

/** Every map of the datapath, by the name under which the code knows it. */
export const maps = {
  affinity,
  backends,
  conntrack,
  devices,
  egressRoutes,
  endpoints,
  eventBudget,
  events,
  fragments,
  ipcache,
  ipcacheCidr,
  lifelines,
  metrics,
  nat,
  natExceptions,
  policy,
  policyInfo,
  protectedSockets,
  reverseNat,
  runtime,
  scratch,
  services,
  slots,
  socketReverseNat,
  sourceRanges,
  stages,
  virtuals,
} as const;

export type MapName = keyof typeof maps;

export const allMaps: readonly MapDeclaration<never, never>[] = Object.values(
  maps,
) as unknown as readonly MapDeclaration<never, never>[];
