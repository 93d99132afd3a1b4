import type { RecordKind } from '@causeway/daemon';
import { Prefix } from '@causeway/ip';
import type { BlockPhase } from '@causeway/ipam';
import { z } from 'zod';
import { STATIC } from './choice.ts';

const PHASES = [
  'learning',
  'announcing',
  'ready',
  'draining',
  'withdrawing',
  'returning',
  'lost',
  'taken',
] as const satisfies readonly BlockPhase[];

const prefix = z.custom<Prefix>((value) => typeof value === 'string' && Prefix.is(value));
const schema = z.strictObject({
  blocks: z.array(
    z.strictObject({
      cidr: prefix,
      /** Empty: one of the node's own podCIDRs. */
      pool: z.string(),
      phase: z.enum(PHASES),
      /** The node that the store has given it to, of one that is taken. */
      holder: z.string().optional(),
    }),
  ),
});

/** The node's pod CIDRs and how far each is in its life; written before anything follows from a step. */
export type HeldBlocks = z.infer<typeof schema>;
export type HeldBlock = HeldBlocks['blocks'][number];

export const heldBlocksRecord: RecordKind<HeldBlocks> = {
  format: 'causeway-pod-cidrs',
  version: 1,
  parse: (payload) => schema.parse(payload),
};

export const isStatic = ({ pool }: Pick<HeldBlock, 'pool'>): boolean => pool === STATIC;
