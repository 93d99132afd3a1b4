import { Address } from '@causeway/ip';
import * as z from 'zod';
import { closed, maybe, open, text } from './build.ts';
import { dnsSubdomain, ipAddress, metadata } from './common.ts';
import { countOrdinals, hasOrdinal, type OrdinalRange, parseOrdinals } from './ordinals.ts';

/** Every ordinal may hold an address that is then kept out of use. */
const MAX_ADDRESSES = 4096;

const ordinal = z.int().min(0, 'must be 0 to 1000000').max(1_000_000, 'must be 0 to 1000000');

const workload = closed({
  apiVersion: maybe(z.string().max(253)),
  kind: z.string().regex(/^[A-Z][A-Za-z0-9]{0,62}$/, 'must be a kind such as StatefulSet'),
  name: dnsSubdomain,
  ordinals: maybe(
    text((value) => {
      const ranges = parseOrdinals(value);
      return ranges !== undefined && countOrdinals(ranges) <= MAX_ADDRESSES;
    }, `ordinals such as "0-3,7", ${MAX_ADDRESSES} at most`).meta({
      description: 'Which of its pods, by the number at the end of their names; all if absent.',
    }),
  ),
});

const fixed = closed({
  ipv4: maybe(ipAddress.refine((v) => !v.includes(':'), { message: 'must be an IPv4 address' })),
  ipv6: maybe(ipAddress.refine((v) => v.includes(':'), { message: 'must be an IPv6 address' })),
  ordinal: maybe(ordinal),
  podName: maybe(dnsSubdomain),
}).superRefine((value, context) => {
  const fail = (field: string, message: string, input?: unknown): void =>
    context.addIssue({ code: 'custom', path: [field], message, input });
  if (value.ipv4 === undefined && value.ipv6 === undefined) {
    fail('ipv4', 'must be set unless ipv6 is');
  }
  for (const field of ['ipv4', 'ipv6'] as const) {
    const address = value[field] === undefined ? undefined : Address.tryParse(value[field]);
    if (address === undefined) continue;
    if (Address.isMulticast(address) || Address.isUnspecified(address)) {
      fail(field, 'must be a unicast address', value[field]);
    }
  }
  if (value.ordinal !== undefined && value.podName !== undefined) {
    fail('podName', 'must be absent with ordinal', value.podName);
  }
});

/** Addresses for an ordinal that the workload does not name, and those that no ordinal is left for. */
function* strayAddresses(
  addresses: readonly { readonly ordinal?: number; readonly podName?: string }[],
  ranges: readonly OrdinalRange[] | undefined,
): Generator<{ readonly index: number; readonly surplus: boolean }> {
  if (ranges === undefined) return;
  const taken = new Set(addresses.flatMap(({ ordinal }) => ordinal ?? []));
  const named = new Set<number>();
  for (const [from, to] of ranges) {
    for (let at = from; at <= to; at++) if (!taken.has(at)) named.add(at);
  }
  let left = named.size;
  for (const [index, { ordinal, podName }] of addresses.entries()) {
    if (ordinal !== undefined) {
      if (!hasOrdinal(ranges, ordinal)) yield { index, surplus: false };
    } else if (podName === undefined && left-- <= 0) yield { index, surplus: true };
  }
}

export const addressReservation = open({
  apiVersion: z.literal('causeway.io/v1'),
  kind: z.literal('AddressReservation'),
  metadata: metadata(dnsSubdomain, true),
  spec: closed({
    workload: maybe(workload.meta({ description: 'Whose pods keep their addresses.' })),
    podName: maybe(dnsSubdomain.meta({ description: 'The one pod that keeps its address.' })),
    addresses: maybe(
      z.array(fixed).max(MAX_ADDRESSES).meta({
        description: 'Addresses that are meant; without them, the first ones given stay.',
      }),
    ),
    pool: maybe(dnsSubdomain.meta({ description: 'The CiliumPodIPPool that they come from.' })),
    ttlSeconds: maybe(
      z
        .int()
        .min(0, 'must be 0 to 31536000')
        .max(31_536_000, 'must be 0 to 31536000')
        .meta({ description: 'For so long they are kept after the pod has gone; 86400.' }),
    ),
  }).superRefine((spec, context) => {
    const fail = (path: (string | number)[], message: string, input?: unknown): void =>
      context.addIssue({ code: 'custom', path, message, input });
    if (spec.workload !== undefined && spec.podName !== undefined) {
      fail(['podName'], 'must be absent with workload', spec.podName);
    }
    if (
      spec.workload === undefined &&
      spec.podName === undefined &&
      (spec.addresses?.length ?? 0) === 0
    ) {
      fail(['workload'], 'must be set unless podName or addresses are: it names who is meant');
    }
    const seen = new Set<string>();
    const named = spec.workload?.ordinals;
    const ranges = named === undefined ? undefined : parseOrdinals(named);
    for (const { index, surplus } of strayAddresses(spec.addresses ?? [], ranges)) {
      if (surplus)
        fail(['addresses', index], `must be left out: the ordinals ${named} have one each`);
      else {
        const { ordinal } = spec.addresses![index]!;
        fail(['addresses', index, 'ordinal'], `must be among workload.ordinals, ${named}`, ordinal);
      }
    }
    spec.addresses?.forEach((each, index) => {
      if (each.ordinal !== undefined && spec.workload === undefined) {
        fail(['addresses', index, 'ordinal'], 'must be absent without workload', each.ordinal);
      }
      for (const field of ['ipv4', 'ipv6'] as const) {
        const address = each[field] === undefined ? undefined : Address.tryParse(each[field]);
        if (address === undefined) continue;
        if (seen.has(address)) {
          fail(['addresses', index, field], 'must not stand twice in a reservation', address);
        }
        seen.add(address);
      }
    });
  }),
  status: maybe(
    open({
      bindings: maybe(
        z.array(
          open({
            address: z.string(),
            holder: z.string(),
            node: maybe(z.string()),
            state: z.string(),
          }),
        ),
      ),
      error: maybe(z.string()),
    }),
  ),
}).meta({ description: 'Addresses that stay with a workload, whatever node its pods are on.' });

export type AddressReservation = z.infer<typeof addressReservation>;
