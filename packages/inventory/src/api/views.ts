import type { Address } from '@causeway/ip';
import type { Inventory } from '../core/inventory.ts';
import type { Member } from '../core/member.ts';
import type { Publication } from '../core/publication.ts';

export interface MemberView {
  readonly source: string;
  readonly id: string;
  readonly name: string;
  readonly namespace: string;
  readonly addresses: readonly Address[];
  readonly platform: string | undefined;
  readonly site: string | undefined;
  readonly nodeAddress: Address | undefined;
  /** `k8s:app=till`, in the order of their keys. */
  readonly labels: readonly string[];
  readonly identity: number | undefined;
  /** `live`; `remembered`: only the store has told of it so far; `withheld`: its source no longer names it. */
  readonly state: 'live' | 'remembered' | 'withheld';
  readonly warnings: readonly string[];
}

export function memberView(member: Member, publication: Publication): MemberView {
  const { item } = member;
  return {
    source: member.source,
    id: member.id,
    name: member.name,
    namespace: member.namespace,
    addresses: member.addresses,
    platform: item?.platform,
    site: item?.site,
    nodeAddress: member.nodeAddress,
    labels: labelsOf(member.labels),
    identity: publication.numberOf(member.labels),
    state: member.withheld ? 'withheld' : item === undefined ? 'remembered' : 'live',
    warnings: member.warnings,
  };
}

export const labelsOf = (text: string): string[] => text.split(';').filter((each) => each !== '');

export interface WhyView {
  readonly address: Address;
  /** In one sentence. */
  readonly verdict: string;
  readonly holder:
    | (MemberView & { readonly attributes: Readonly<Record<string, string>> })
    | undefined;
  /** Who claims it too and waits. */
  readonly waiting: readonly MemberView[];
  /** Where and as what readers find it. */
  readonly entry: { readonly key: string; readonly identity: number } | undefined;
}

export function whyAddress(
  address: Address,
  inventory: Inventory,
  publication: Publication,
): WhyView {
  const { holder, waiting } = inventory.claimants(address);
  if (holder === undefined) {
    const verdict = `no source names ${address}: for the mesh it is no endpoint of this inventory`;
    return { address, verdict, holder: undefined, waiting: [], entry: undefined };
  }
  const identity = publication.numberOf(holder.labels);
  const whyNot = publication.whyNot(address);
  const shown = memberView(holder, publication);
  const who = `${holder.name} of source ${holder.source}`;
  const published = whyNot === undefined && identity !== undefined;
  const others = waiting.map(({ name, source }) => `${name} of source ${source}`).join(', ');
  const verdict = [
    published
      ? `${address} is ${who}, identity ${identity}`
      : `${address} is ${who}, but has no entry: ${whyNot ?? 'it is being written'}`,
    ...(waiting.length === 0
      ? []
      : [`claimed by ${others} too, refused: ${holder.name} had it first`]),
    ...(holder.withheld ? ['its source no longer names it; the guard keeps it'] : []),
    ...(holder.item === undefined
      ? ['its source has not spoken since the start; the store remembers it']
      : []),
  ].join('; ');
  return {
    address,
    verdict,
    holder: { ...shown, attributes: holder.item?.attributes ?? {} },
    waiting: waiting.map((each) => memberView(each, publication)),
    entry: published ? { key: `cilium/state/ip/v1/default/${address}`, identity } : undefined,
  };
}
