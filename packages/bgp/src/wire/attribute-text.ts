import { formatAsPath } from './as-path.ts';
import type { PathAttributes } from './attributes.ts';
import { Community, ExtendedCommunity, LargeCommunity } from './communities.ts';

const ORIGINS = ['igp', 'egp', 'incomplete'] as const;

/** What people read of a route's attributes, in the text forms of the field. */
export interface AttributesText {
  readonly origin: (typeof ORIGINS)[number];
  readonly asPath: string;
  readonly med?: number;
  readonly localPreference?: number;
  readonly communities?: readonly string[];
  readonly largeCommunities?: readonly string[];
  readonly extendedCommunities?: readonly string[];
  readonly originatorId?: string;
  readonly clusterList?: readonly string[];
}

export function attributesText(attributes: PathAttributes): AttributesText {
  const { med, localPreference, originatorId, clusterList } = attributes;
  const { communities, largeCommunities, extendedCommunities } = attributes;
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
  };
}
