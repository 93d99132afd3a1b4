import { IdentityError } from './errors.ts';
import { LABEL_SOURCES, type Label, LabelSet, label } from './labels.ts';

/**
 * The label of a prefix: `cidr:10.0.0.0/8`, `cidr:2001-db8--0/32`. Label keys must not hold colons
 * nor begin or end with a dash, so IPv6 is written with dashes and a zero beside an outer one.
 * @param prefix canonical text: RFC 5952 or dotted quad, masked, with its length.
 */
export function cidrLabel(prefix: string): Label {
  const slash = prefix.indexOf('/');
  const address = prefix.slice(0, slash);
  if (slash <= 0 || !/^[0-9a-f.:]+\/\d{1,3}$/.test(prefix)) {
    throw new IdentityError(
      'bad-label',
      `${JSON.stringify(prefix)} is not a canonical prefix such as 10.0.0.0/8`,
      prefix,
    );
  }
  const dashed = address.replaceAll(':', '-').replace(/^-/, '0-').replace(/-$/, '-0');
  return label(LABEL_SOURCES.cidr, `${dashed}${prefix.slice(slash)}`);
}

/** The prefix that a `cidr` label names, in its plain text. */
export function prefixOfCidrLabel({ source, key }: Label): string | undefined {
  if (source !== LABEL_SOURCES.cidr) return undefined;
  const [address = '', length = ''] = key.split('/');
  const colons = address.replaceAll('-', ':').replace(/^0::/, '::').replace(/::0$/, '::');
  return `${colons}/${length}`;
}

/**
 * The labels of a prefix's node-local identity: its `cidr` label and the world that it is part of.
 * @param dualStack whether world is split by family, as Cilium does on dual-stack nodes.
 */
export function cidrLabels(prefix: string, dualStack: boolean): LabelSet {
  const family = prefix.includes(':') ? 'world-ipv6' : 'world-ipv4';
  const world = label(LABEL_SOURCES.reserved, dualStack ? family : 'world');
  return LabelSet.of(prefix.endsWith('/0') ? [world] : [cidrLabel(prefix), world]);
}
