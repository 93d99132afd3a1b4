import {
  Community,
  ExtendedCommunity,
  type FamilyKey,
  formatAsPath,
  LargeCommunity,
  type PathAttributes,
  type RefusedWhy,
  type RouteRow,
} from '@causeway/bgp';

/** Path attributes as people write them; an absent field is an absent attribute. */
export interface AttributesView {
  readonly origin: 'igp' | 'egp' | 'incomplete';
  readonly asPath: string;
  readonly med?: number;
  readonly localPreference?: number;
  readonly communities?: readonly string[];
  readonly largeCommunities?: readonly string[];
  readonly extendedCommunities?: readonly string[];
  readonly originatorId?: string;
  readonly clusterList?: readonly string[];
  readonly atomicAggregate?: true;
  readonly aggregator?: string;
  readonly unknown?: readonly {
    readonly type: number;
    readonly flags: number;
    readonly value: string;
  }[];
}

export interface RouteView extends AttributesView {
  readonly family: FamilyKey;
  readonly prefix: string;
  /** `local:OWNER` for originated ones. */
  readonly peer: string;
  readonly pathId?: number;
  readonly nextHop: string;
  readonly linkLocalNextHop?: string;
  readonly best?: boolean;
  readonly multipath?: boolean;
  readonly stale?: 'graceful-restart' | 'long-lived';
  readonly refused?: RefusedWhy;
}

const ORIGINS = ['igp', 'egp', 'incomplete'] as const;

export function attributesView(attributes: PathAttributes): AttributesView {
  const { med, localPreference, originatorId, clusterList, aggregator, atomicAggregate } =
    attributes;
  const { communities, largeCommunities, extendedCommunities, unknown } = attributes;
  return {
    origin: ORIGINS[attributes.origin] ?? 'incomplete',
    asPath: formatAsPath(attributes.asPath),
    ...(med === undefined ? {} : { med }),
    ...(localPreference === undefined ? {} : { localPreference }),
    ...(communities === undefined ? {} : { communities: communities.map(Community.format) }),
    ...(largeCommunities === undefined
      ? {}
      : { largeCommunities: largeCommunities.map(LargeCommunity.format) }),
    ...(extendedCommunities === undefined
      ? {}
      : { extendedCommunities: extendedCommunities.map(ExtendedCommunity.format) }),
    ...(originatorId === undefined ? {} : { originatorId }),
    ...(clusterList === undefined ? {} : { clusterList }),
    ...(atomicAggregate === undefined ? {} : { atomicAggregate }),
    ...(aggregator === undefined ? {} : { aggregator: `${aggregator.asn} ${aggregator.routerId}` }),
    ...(unknown === undefined
      ? {}
      : {
          unknown: unknown.map(({ type, flags, value }) => ({
            type,
            flags,
            value: Buffer.from(value).toString('hex'),
          })),
        }),
  };
}

export function routeView(row: RouteRow): RouteView {
  const { attributes, ...rest } = row;
  return { ...rest, ...attributesView(attributes) };
}
