import { Address, type Family, Prefix } from '@causeway/ip';
import { ResourceError, type ResourceIssue } from './errors.ts';
import type { Service } from './schema/service.ts';
import { objectName, refusal } from './validate.ts';

/** Where cluster IPs come from; the first gives the family of single-stack services. */
export type ServiceCidrs = readonly Prefix[];

/** One address of a service: asked for, kept from before, or still to be chosen. */
export type AddressWish =
  | { readonly type: 'explicit'; readonly address: Address }
  | { readonly type: 'kept'; readonly address: Address }
  | { readonly type: 'any'; readonly family: Family };

/** What a service needs before it can be written. */
export interface ServicePlan {
  /** In the order of `spec.clusterIPs`. Empty when headless or ExternalName. */
  readonly wishes: readonly AddressWish[];
  /** Addresses of the stored service that the new one has no use for. */
  readonly released: readonly Address[];
  /** The service with these addresses in it. */
  finish(addresses: readonly Address[]): Service;
}

type IpFamily = 'IPv4' | 'IPv6';
const familyName = (address: string): IpFamily => (address.includes(':') ? 'IPv6' : 'IPv4');

/**
 * Kubernetes' rules for cluster IPs and IP families (KEP-563): what the service asks for, what the
 * stored one fixes, what the cluster can give. Throws ResourceError `invalid` or `immutable`.
 */
export function planService(
  next: Service,
  stored: Service | undefined,
  cidrs: ServiceCidrs,
): ServicePlan {
  const fail = (
    type: ResourceIssue['type'],
    path: string,
    message: string,
    value?: unknown,
  ): never => {
    const what = objectName('Service', next.metadata.namespace, next.metadata.name);
    const error = refusal(what, [{ type, path, message, value }]);
    throw type === 'immutable'
      ? new ResourceError('immutable', error.message, {
          object: what,
          issues: error.issues,
          value,
          hint: 'delete the Service and create it anew',
        })
      : error;
  };
  const held = storedAddresses(stored);
  const spec = next.spec;
  if (spec.type === 'ExternalName') {
    return { wishes: [], released: held, finish: () => withAddresses(next, [], [], undefined) };
  }

  const given = (spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : [])).filter(
    (ip) => ip !== '',
  );
  const wasHeadless = stored?.spec.clusterIP === 'None';
  const headless = given[0] === 'None' || (given.length === 0 && wasHeadless);
  if (stored && stored.spec.type !== 'ExternalName' && headless !== wasHeadless) {
    fail('immutable', 'spec.clusterIP', `must stay ${stored.spec.clusterIP}`, given[0]);
  }
  const wanted = headless ? [] : given.map((ip) => Address.parse(ip));
  held.forEach((address, index) => {
    const other = wanted[index];
    if (other === undefined || other === address) return;
    fail('immutable', `spec.clusterIPs[${index}]`, `must stay ${address}`, other);
  });

  const fixed = held[0]
    ? familyName(held[0])
    : wasHeadless
      ? stored?.spec.ipFamilies?.[0]
      : undefined;
  const asked = spec.ipFamilies?.[0];
  if (fixed && asked && asked !== fixed) {
    fail('immutable', 'spec.ipFamilies[0]', `must stay ${fixed}`, asked);
  }
  const primary =
    (wanted[0] && familyName(wanted[0])) ??
    fixed ??
    asked ??
    (cidrs[0] ? familyName(cidrs[0]) : 'IPv4');
  const secondary: IpFamily = primary === 'IPv4' ? 'IPv6' : 'IPv4';
  const two = wanted.length === 2 || spec.ipFamilies?.length === 2;
  const policy =
    spec.ipFamilyPolicy ??
    (two ? 'RequireDualStack' : (stored?.spec.ipFamilyPolicy ?? 'SingleStack'));
  const canServe = (family: IpFamily): boolean => cidrs.some((cidr) => familyName(cidr) === family);
  const dual =
    policy === 'RequireDualStack' ||
    (policy === 'PreferDualStack' &&
      (canServe(secondary) || wanted.length === 2 || held.length === 2));
  const families: IpFamily[] = dual ? [primary, secondary] : [primary];

  if (headless) {
    return {
      wishes: [],
      released: [],
      finish: () => withAddresses(next, ['None'], families, policy),
    };
  }
  const wishes = families.map((family, index): AddressWish => {
    const kept = held[index];
    if (kept !== undefined) return { type: 'kept', address: kept };
    const address = wanted[index];
    if (address !== undefined) {
      const path = spec.clusterIPs === undefined ? 'spec.clusterIP' : `spec.clusterIPs[${index}]`;
      const range = cidrs.filter((cidr) => familyName(cidr) === family);
      if (!range.some((cidr) => isUsable(cidr, address))) {
        const allowed = range.length > 0 ? range.join(', ') : 'none is configured';
        fail(
          'invalid',
          path,
          `must be a usable address of the ${family} service CIDR (${allowed})`,
          address,
        );
      }
      return { type: 'explicit', address };
    }
    if (!canServe(family)) {
      const path = index === 0 ? 'spec.clusterIP' : 'spec.ipFamilyPolicy';
      fail(
        'invalid',
        path,
        `cannot be served: the cluster has no ${family} service CIDR; apply a ServiceCIDR named "kubernetes" with one`,
        index === 0 ? undefined : policy,
      );
    }
    return { type: 'any', family: family === 'IPv4' ? 'ipv4' : 'ipv6' };
  });
  return {
    wishes,
    released: held.slice(families.length),
    finish: (addresses) => withAddresses(next, addresses, families, policy),
  };
}

/** The addresses that a service holds claims on. */
export function storedAddresses(service: Service | undefined): Address[] {
  if (service === undefined) return [];
  const ips = service.spec.clusterIPs ?? (service.spec.clusterIP ? [service.spec.clusterIP] : []);
  return ips.flatMap((ip) => Address.tryParse(ip) ?? []);
}

/** Not the network's own address, nor IPv4's broadcast address. */
function isUsable(cidr: Prefix, address: Address): boolean {
  if (!Prefix.contains(cidr, address)) return false;
  if (Prefix.isHost(cidr)) return true;
  if (address === Prefix.first(cidr)) return false;
  return Prefix.family(cidr) === 'ipv6' || address !== Prefix.last(cidr);
}

/**
 * A free address of the family: from a random place onwards. Throws `exhausted`.
 * @param random in [0, 1)
 */
export function pickAddress(
  family: Family,
  cidrs: ServiceCidrs,
  used: ReadonlySet<string>,
  random: () => number,
  what: string,
): Address {
  for (const cidr of cidrs) {
    if (Prefix.family(cidr) !== family) continue;
    const size = Prefix.size(cidr);
    // 2^48 addresses are more than there will be services; the rest of a wider range stays unused.
    const span = size > 1n << 48n ? 1n << 48n : size;
    const start = BigInt(Math.floor(random() * Number(span)));
    // Among n + 3 addresses one is neither among the n used ones nor first or last.
    const tries = BigInt(used.size + 3) < span ? BigInt(used.size + 3) : span;
    for (let step = 0n; step < tries; step++) {
      const address = Prefix.nth(cidr, (start + step) % span);
      if (!used.has(address) && isUsable(cidr, address)) return address;
    }
  }
  const ranges = cidrs.filter((cidr) => Prefix.family(cidr) === family).join(', ');
  throw new ResourceError('exhausted', `${what}: no ${family} address is left in ${ranges}`, {
    object: what,
    value: ranges,
    hint: 'apply a further ServiceCIDR, or delete Services',
  });
}

function withAddresses(
  service: Service,
  ips: readonly string[],
  families: readonly IpFamily[],
  policy: Service['spec']['ipFamilyPolicy'],
): Service {
  const {
    clusterIP: _,
    clusterIPs: __,
    ipFamilies: ___,
    ipFamilyPolicy: ____,
    ...rest
  } = service.spec;
  const [first] = ips;
  return {
    ...service,
    spec: {
      ...rest,
      ...(first === undefined ? {} : { clusterIP: first, clusterIPs: [...ips] }),
      ...(families.length === 0 ? {} : { ipFamilies: [...families] }),
      ...(policy === undefined ? {} : { ipFamilyPolicy: policy }),
    },
  };
}
