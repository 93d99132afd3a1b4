import {
  type AttributesText,
  attributesText,
  type FamilyKey,
  type PathAttributes,
  type RefusedWhy,
  type RouteRow,
} from '@causeway/bgp';

/** Path attributes as people write them; an absent field is an absent attribute. */
export interface AttributesView extends AttributesText {
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

export function attributesView(attributes: PathAttributes): AttributesView {
  const { aggregator, atomicAggregate, unknown } = attributes;
  return {
    ...attributesText(attributes),
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
