import { suggest } from '@causeway/daemon/words';
import {
  EXPECTED_ANNOTATION,
  HEALTH_CHECK_ANNOTATION,
  PREFERENCE_ANNOTATION,
  SPILL_OVER_ANNOTATION,
  WEIGHT_ANNOTATION,
} from '@causeway/loadbalancing';
import { AUDIT_ANNOTATION } from '@causeway/policy';
import type { KindName, Resource } from './kinds.ts';

export const FIXED_ADDRESS = 'causeway.io/fixed-address';
export const ADDRESS_TTL = 'causeway.io/address-ttl';
export const ADDRESSES = 'causeway.io/addresses';
export const MIGRATING_FROM = 'causeway.io/migrating-from';
/** Edge nodes announce the addresses of services and take what comes to them from outside. */
export const EDGE_LABEL = 'causeway.io/edge';
/** Nodes that share its value reach one another's pods without a tunnel. */
export const ROUTING_ZONE = 'causeway.io/routing-zone';
/** Written with every PUT of an endpoint that expires, so that the same words are a renewal. */
export const RENEWED_AT = 'causeway.io/renewed-at';
export const PLATFORM_LABEL = 'causeway.io/platform';
export const SITE_LABEL = 'causeway.io/site';

/** An annotation or label of ours. */
export interface OwnKey {
  readonly key: string;
  readonly as: 'annotation' | 'label';
  /** On which it has an effect. */
  readonly kinds: readonly KindName[];
  /** For the table in this package's README. */
  readonly effect: string;
}

const healthCheck = (option: string, effect: string): OwnKey => ({
  key: HEALTH_CHECK_ANNOTATION + option,
  as: 'annotation',
  kinds: ['Service'],
  effect,
});

const POLICIES = [
  'NetworkPolicy',
  'CiliumNetworkPolicy',
  'CiliumClusterwideNetworkPolicy',
] as const satisfies readonly KindName[];
const NODES = ['Node', 'CiliumNode'] as const satisfies readonly KindName[];

/** All annotations and labels under our domains that anything reads. */
export const OWN_KEYS: readonly OwnKey[] = [
  ...(
    [
      [FIXED_ADDRESS, ['Pod', 'StatefulSet'], '`true`: the addresses that were given stay'],
      [
        ADDRESS_TTL,
        ['Pod', 'StatefulSet'],
        'seconds for which they are kept after the pod has gone',
      ],
      [ADDRESSES, ['Pod'], 'the addresses that it asks for, one of each family'],
      [MIGRATING_FROM, ['Pod'], 'the pod from which a machine moves here with its addresses'],
      [WEIGHT_ANNOTATION, ['Pod', 'EndpointSlice'], '0 to 100: its share of new connections'],
      [PREFERENCE_ANNOTATION, ['Service'], 'clusters in the order in which they are used'],
      [SPILL_OVER_ANNOTATION, ['Service'], 'below which share of living backends others help'],
      [EXPECTED_ANNOTATION, ['Service'], 'backends that a cluster is expected to have'],
      [AUDIT_ANNOTATION, POLICIES, '`true`: tried, not enforced'],
      [RENEWED_AT, ['OutsideEndpoint'], 'when whoever registered it was last heard of'],
    ] as const
  ).map(([key, kinds, effect]): OwnKey => ({ key, as: 'annotation', kinds, effect })),
  healthCheck('', '`tcp` or `http:/path`: how backends are tried'),
  healthCheck('-interval', 'between two tries'),
  healthCheck('-timeout', 'of one try'),
  healthCheck('-healthy', 'tries in a row until a backend counts as well'),
  healthCheck('-unhealthy', 'tries in a row until it does not'),
  healthCheck('-port', "in place of the backend's own"),
  { key: EDGE_LABEL, as: 'label', kinds: NODES, effect: 'an edge node, or `draining`' },
  { key: ROUTING_ZONE, as: 'label', kinds: NODES, effect: 'nodes that route to each other' },
  { key: PLATFORM_LABEL, as: 'label', kinds: ['OutsideEndpoint'], effect: 'who runs it' },
  { key: SITE_LABEL, as: 'label', kinds: ['OutsideEndpoint'], effect: 'where it is' },
];

const BY_KEY = new Map(OWN_KEYS.map((each) => [each.key, each]));
const DOMAINS = [...new Set(OWN_KEYS.map(({ key }) => domainOf(key)))];
const WORDS = { annotation: 'an annotation', label: 'a label' } as const;
const MAX_TOLD = 5;

/** Annotations and labels that look like ours and have no effect: misspelt, or where nobody reads them. */
export function strangeKeys({ kind, metadata }: Resource): string[] {
  const told = (as: OwnKey['as'], path: string, values: Readonly<Record<string, string>> = {}) =>
    Object.keys(values).flatMap((key) => {
      const problem = problemOf(kind, as, key);
      return problem === undefined ? [] : [`metadata.${path}[${key}] ${problem}`];
    });
  return [
    ...told('annotation', 'annotations', metadata.annotations),
    ...told('label', 'labels', metadata.labels),
  ].slice(0, MAX_TOLD);
}

function problemOf(kind: KindName, as: OwnKey['as'], key: string): string | undefined {
  const known = BY_KEY.get(key);
  if (known === undefined) {
    const meant = meantBy(key);
    const ours = DOMAINS.includes(domainOf(key));
    if (meant === undefined && !ours) return undefined;
    return `is not known here${meant === undefined ? '' : `; did you mean ${meant}?`}`;
  }
  if (known.as !== as) return `has no effect as ${WORDS[as]}: it is ${WORDS[known.as]}`;
  if (known.kinds.includes(kind)) return undefined;
  return `has no effect on ${kind}: it is read on ${known.kinds.join(', ')}`;
}

/** One of ours with the same domain and a name much like it, or with the same name and much the same domain. */
function meantBy(key: string): string | undefined {
  const domain = domainOf(key);
  if (domain === '') return undefined;
  const name = key.slice(domain.length + 1);
  if (!DOMAINS.includes(domain)) {
    const meant = suggest(domain, DOMAINS);
    return meant !== undefined && BY_KEY.has(`${meant}/${name}`) ? `${meant}/${name}` : undefined;
  }
  const names = OWN_KEYS.filter((each) => domainOf(each.key) === domain);
  const meant = suggest(
    name,
    names.map((each) => each.key.slice(domain.length + 1)),
  );
  return meant && `${domain}/${meant}`;
}

function domainOf(key: string): string {
  return key.slice(0, Math.max(0, key.indexOf('/')));
}
