import { Prefix } from '@causeway/ip';
import * as z from 'zod';
import { open } from './build.ts';
import { cidr, dnsSubdomain, metadata } from './common.ts';

export const serviceCidr = open({
  apiVersion: z.literal('networking.k8s.io/v1'),
  kind: z.literal('ServiceCIDR'),
  metadata: metadata(dnsSubdomain, false),
  spec: open({
    cidrs: z
      .array(cidr)
      .min(1)
      .max(2)
      .superRefine((cidrs, context) => {
        const [first, second] = cidrs;
        if (first && second && first.includes(':') === second.includes(':')) {
          context.addIssue({
            code: 'custom',
            path: [1],
            message: 'must be of the other IP family',
            input: second,
          });
        }
        cidrs.forEach((text, index) => {
          if (Prefix.tryParse(text) !== undefined) return;
          context.addIssue({
            code: 'custom',
            path: [index],
            message: `must have no bits beyond its length: ${Prefix.tryParse(text, { hostBits: 'clear' })}`,
            input: text,
          });
        });
      }),
  }),
}).meta({
  description:
    'Where cluster IPs of Services come from. The one named "kubernetes" gives the first family.',
});

export type ServiceCIDR = z.infer<typeof serviceCidr>;
