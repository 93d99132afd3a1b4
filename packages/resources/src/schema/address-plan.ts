import { Prefix } from '@causeway/ip';
import * as z from 'zod';
import { closed, maybe, namedList, open, text } from './build.ts';
import { dnsSubdomain, metadata } from './common.ts';

/** Host bits in a plan are a slip of the pen: refused, not cleared. */
const exact = text(
  (value) => Prefix.tryParse(value) !== undefined,
  'a CIDR without bits beyond its length, such as 10.0.0.0/8 or fd00::/48',
);
const ranges = z.array(exact).max(1024);
const planName = z
  .string()
  .regex(
    /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/,
    'must be a name of 1 to 63 letters, digits, "-", "_" or "."',
  );

const cluster = closed({
  name: planName,
  id: maybe(z.int().min(0, 'must be 0 to 511').max(511, 'must be 0 to 511')),
  pods: maybe(ranges),
  services: maybe(ranges),
  nodes: maybe(ranges),
  vips: maybe(ranges),
});

export const addressPlan = open({
  apiVersion: z.literal('causeway.io/v1'),
  kind: z.literal('AddressPlan'),
  metadata: metadata(dnsSubdomain, false),
  spec: closed({
    regions: namedList(
      closed({
        name: planName,
        vpcs: maybe(
          namedList(
            closed({
              name: planName,
              cidrs: maybe(ranges),
              clusters: maybe(namedList(cluster, 512)),
            }),
            1024,
          ),
        ),
      }),
      256,
    ),
  }),
  status: maybe(open({ conflicts: maybe(z.array(z.string())) })),
}).meta({ description: 'Who owns which ranges, over regions, VPCs and clusters.' });

export type AddressPlan = z.infer<typeof addressPlan>;
