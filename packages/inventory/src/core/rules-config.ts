import { z } from 'zod';

const fact = z
  .string()
  .min(1)
  .max(253)
  .regex(
    /^(id|name|namespace|platform|site|source|address|nodeAddress|serviceAccount|label\..+|attribute\..+|namespaceLabel\..+)$/,
    'must be id, name, namespace, platform, site, source, address, nodeAddress, serviceAccount, label.KEY, attribute.KEY or namespaceLabel.KEY',
  );

/** `*` stands for any text, `?` for any character. */
const glob = z.string().max(253);

/** Facts and what they must look like; all of them must fit. A list of globs means any of them. */
export const condition = z.record(fact, z.union([glob, z.array(glob).min(1).max(64)]));

export const filterConfig = z.strictObject({
  /** Items that fit none of these are left out; an empty list leaves nothing out. */
  include: z.array(condition).max(256).default([]),
  /** Items that fit one of these are left out. */
  exclude: z.array(condition).max(256).default([]),
});

const key = z.string().min(1).max(317);

/** One step of the mapping; the steps go in their order, each over what the ones before it left. */
export const labelRule = z.union([
  z.strictObject({
    /** A label of this name and value, whatever else there is. */
    set: z.record(key, z.string().max(253)),
    when: condition.optional(),
  }),
  z.strictObject({
    /** The label `to` with the value of this fact; nothing where the item has no such fact. */
    from: fact,
    to: key,
    /** Values that are written otherwise; what is not named stays as it is. */
    values: z.record(z.string(), z.string().max(253)).optional(),
    /** Takes the fact's own label away; for `label.KEY`. */
    move: z.boolean().default(false),
    when: condition.optional(),
  }),
  z.strictObject({
    /** Every attribute whose name begins so becomes a label: the rest of its name behind `to`. */
    each: z.string().regex(/^attribute\..+$/, 'must be attribute.PREFIX'),
    to: z.string().max(253).default(''),
    when: condition.optional(),
  }),
  z.strictObject({
    /** Labels whose keys look so are taken away. */
    drop: glob,
    when: condition.optional(),
  }),
]);

export type Condition = z.infer<typeof condition>;
export type FilterConfig = z.infer<typeof filterConfig>;
export type LabelRule = z.infer<typeof labelRule>;
