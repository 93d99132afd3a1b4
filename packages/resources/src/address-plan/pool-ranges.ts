import type { CallOptions, Compare, Kv } from '@causeway/etcd';
import { Address, Prefix, subtract } from '@causeway/ip';
import { CLAIMS, decodeClaim, ownerText } from '@causeway/ipam';
import { decode, descriptor, prefixOf } from '../codec.ts';
import { ResourceError } from '../errors.ts';
import type { CiliumPodIPPool } from '../schema/pod-pools.ts';
import { decodePodCidr, POD_CIDRS, podCidrOfKey, poolUseKey } from './pod-cidrs.ts';

const MAX_NAMES = 10;

const rangesOfPool = (pool: CiliumPodIPPool | undefined): Prefix[] =>
  [...(pool?.spec.ipv4?.cidrs ?? []), ...(pool?.spec.ipv6?.cidrs ?? [])].map((text) =>
    Prefix.parse(text, { hostBits: 'clear' }),
  );

/**
 * What a pool loses must be nobody's. The compare that it returns must stand in the transaction that takes the
 * ranges away: the operator writes the key with whatever it gives of the pool. Throws ResourceError `in-use` that
 * names the nodes, pods and claims.
 */
export async function guardPoolRanges(
  kv: Kv,
  stored: CiliumPodIPPool,
  next: CiliumPodIPPool | undefined,
  options: CallOptions,
): Promise<readonly Compare[]> {
  const lost = subtract(rangesOfPool(stored), rangesOfPool(next));
  if (lost.length === 0) return [];
  const { name } = stored.metadata;
  const use = await kv.get(poolUseKey(name), options);
  const isLost = (cidr: Prefix): boolean => lost.some((range) => Prefix.overlaps(range, cidr));
  const held: { cidr: Prefix; node: string }[] = [];
  for await (const { entries } of kv.pages(POD_CIDRS, options)) {
    for (const entry of entries) {
      const cidr = podCidrOfKey(entry.key);
      if (cidr === undefined || !isLost(cidr)) continue;
      const record = decodePodCidr(entry);
      // Whose a record is that nobody can read, nobody knows: it may be this pool's.
      if (record === undefined) held.push({ cidr, node: 'a record that cannot be read' });
      else if (record.pool === name) held.push(record);
    }
  }
  const claims: string[] = [];
  for await (const { entries } of kv.pages(CLAIMS, options)) {
    for (const { key, text } of entries) {
      const address = Address.tryParse(key.slice(CLAIMS.length));
      if (address !== undefined && isLost(Prefix.host(address))) {
        claims.push(`${address} for ${claimOwner(text)}`);
      }
    }
  }
  if (held.length > 0 || claims.length > 0) {
    throw await inUse(kv, name, lost, held, claims, options);
  }
  return [{ type: 'mod', key: poolUseKey(name), operator: '=', revision: use?.modRevision ?? 0 }];
}

async function inUse(
  kv: Kv,
  name: string,
  lost: readonly Prefix[],
  held: readonly { cidr: Prefix; node: string }[],
  claims: readonly string[],
  options: CallOptions,
): Promise<ResourceError> {
  const pods: string[] = [];
  const of = descriptor('Pod');
  for await (const { entries } of kv.pages(prefixOf(of as never), options)) {
    for (const entry of entries) {
      const decoded = decode(of, entry);
      if (decoded.type !== 'object') continue;
      const { metadata, status, spec } = decoded.object;
      const ips = (status?.podIPs ?? []).flatMap(({ ip }) => Address.tryParse(ip) ?? []);
      if (spec.hostNetwork || !ips.some((ip) => lost.some((range) => Prefix.contains(range, ip)))) {
        continue;
      }
      pods.push(`${metadata.namespace}/${metadata.name}`);
    }
  }
  const parts = [
    names(
      'nodes hold',
      held.map(({ cidr, node }) => `${cidr} (${node})`),
    ),
    names('pods', pods),
    names('kept addresses', claims),
  ].filter((part) => part !== '');
  const what = `CiliumPodIPPool ${name}`;
  return new ResourceError(
    'in-use',
    `${what}: ${lost.join(', ')} must stay: in use; ${parts.join('; ')}`,
    {
      object: what,
      value: lost.join(', '),
      hint: `close it first (PodIPPoolOptions ${name}, spec.closed) and watch causeway ipam drain`,
    },
  );
}

function names(what: string, all: readonly string[]): string {
  if (all.length === 0) return '';
  const more = all.length > MAX_NAMES ? ` and ${all.length - MAX_NAMES} more` : '';
  return `${what}: ${all.slice(0, MAX_NAMES).join(', ')}${more}`;
}

function claimOwner(text: string): string {
  try {
    return ownerText(decodeClaim(text).owner);
  } catch {
    return 'an owner that cannot be read';
  }
}
