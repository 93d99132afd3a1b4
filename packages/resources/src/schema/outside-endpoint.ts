import { Address } from '@causeway/ip';
import * as z from 'zod';
import { closed, maybe, open, text } from './build.ts';
import { dnsLabel, dnsSubdomain, ipAddress, labels, labelValue, metadata } from './common.ts';

/** A link-local or loopback address means another machine on every link, so it names none. */
const isGlobalUnicast = (value: string): boolean => {
  const address = Address.tryParse(value);
  if (address === undefined) return false;
  return !(
    Address.isMulticast(address) ||
    Address.isUnspecified(address) ||
    Address.isLoopback(address) ||
    Address.isLinkLocal(address)
  );
};

const machineAddress = text(
  isGlobalUnicast,
  'a unicast address that means one machine everywhere: no loopback, link-local or multicast one',
);

export const outsideEndpoint = open({
  apiVersion: z.literal('causeway.io/v1'),
  kind: z.literal('OutsideEndpoint'),
  metadata: metadata(dnsSubdomain, false),
  spec: closed({
    addresses: z
      .array(ipAddress.and(machineAddress))
      .min(1)
      .max(64)
      .superRefine((addresses, context) => {
        const seen = new Set<string>();
        addresses.forEach((each, index) => {
          const address = Address.tryParse(each) ?? each;
          if (seen.has(address)) {
            const message = 'must not stand twice in an endpoint';
            context.addIssue({ code: 'custom', path: [index], message, input: each });
          }
          seen.add(address);
        });
      })
      .meta({ description: 'Of both families; each gets an entry of its own in the mesh.' }),
    labels: maybe(labels.meta({ description: 'What policies select it by, as labels of a pod.' })),
    platform: z.enum(['bare-metal', 'vm', 'pod']),
    site: maybe(labelValue),
    nodeAddress: maybe(
      machineAddress.meta({
        description: 'Where tunnels to it end; absent for a machine that is plainly routed.',
      }),
    ),
    ttlSeconds: maybe(
      z
        .int()
        .min(1, 'must be 1 to 31536000')
        .max(31_536_000, 'must be 1 to 31536000')
        .meta({ description: 'Removed after so long unless it is written again.' }),
    ),
    namespace: maybe(dnsLabel.meta({ description: 'For policies, which select by it.' })),
    source: maybe(
      z.string().max(253).meta({ description: 'Who wrote it, for people; nothing hangs on it.' }),
    ),
  }),
  status: maybe(open({})),
}).meta({ description: 'A machine outside every cluster that takes part with labels.' });

export type OutsideEndpoint = z.infer<typeof outsideEndpoint>;
