import * as z from 'zod';
import { maybe, open, text } from './build.ts';
import { dnsSubdomain, metadata } from './common.ts';

const isBase64 = (value: string): boolean =>
  /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(
    value.replaceAll(/\s/g, ''),
  );

const key = text(
  (value) => /^[-._a-zA-Z0-9]{1,253}$/.test(value),
  'a key of 1 to 253 letters, digits, "-", "_" and "."',
);

const total = (all: Readonly<Record<string, string>>): boolean =>
  Object.values(all).reduce((sum, value) => sum + value.length, 0) <= 1_048_576;

export const secret = open({
  apiVersion: z.literal('v1'),
  kind: z.literal('Secret'),
  metadata: metadata(dnsSubdomain, true),
  type: maybe(z.string()),
  immutable: maybe(z.boolean()),
  // The values' own text never stands in a refusal: it would end in a log.
  data: maybe(
    z
      .record(key, z.string())
      .refine(total, { message: 'must be at most 1 MiB together' })
      .superRefine((all, context) => {
        for (const [name, value] of Object.entries(all)) {
          if (isBase64(value)) continue;
          context.addIssue({
            code: 'custom',
            path: [name],
            message: 'must be base64; plain text goes into stringData',
            input: undefined,
          });
        }
      }),
  ),
  stringData: maybe(
    z.record(key, z.string()).refine(total, { message: 'must be at most 1 MiB together' }),
  ),
})
  .transform(({ stringData, data, ...rest }) => {
    // As the API server does: what was written in plain is stored in base64, and wins.
    const plain = Object.entries(stringData ?? {}).map(([name, value]): [string, string] => [
      name,
      Buffer.from(value).toString('base64'),
    ]);
    if (plain.length === 0 && data === undefined) return rest;
    return { ...rest, data: { ...data, ...Object.fromEntries(plain) } };
  })
  .meta({ description: 'Passwords, by key. Their values are shown to nobody who does not ask.' });

export type Secret = Omit<z.infer<typeof secret>, 'data'> & { data?: Record<string, string> };

/** A value of a Secret as text; undefined when it is not there. */
export function secretValue({ data }: Pick<Secret, 'data'>, name: string): string | undefined {
  const value = data?.[name];
  return value === undefined ? undefined : Buffer.from(value, 'base64').toString('utf8');
}

/** The Secret with the values' sizes in their place: what may be printed. */
export function redacted<T>(object: T): T {
  const { kind, data } = object as { kind?: unknown; data?: Record<string, unknown> };
  if (kind !== 'Secret' || data === undefined) return object;
  const sizes = Object.entries(data).map(([name, value]) => {
    const bytes = Buffer.from(String(value), 'base64').length;
    return [name, `${bytes} bytes, not shown`];
  });
  return { ...object, data: Object.fromEntries(sizes) };
}
