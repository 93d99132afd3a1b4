import * as z from 'zod';

/** An object whose unknown fields are kept: other programs own the rest of these kinds. */
export function open<S extends z.ZodRawShape>(shape: S): z.ZodObject<S> {
  // At run time loose; in the type closed, so that a misspelt field in our code does not compile.
  return z.looseObject(shape) as unknown as z.ZodObject<S>;
}

/** An object that takes its own fields only: a policy's misspelt rule must not widen it. */
export function closed<S extends z.ZodRawShape>(shape: S) {
  return z.strictObject(shape);
}

/** A field that may be absent (never `undefined`: absent and null are the same before validation). */
export const maybe = z.exactOptional;

/**
 * A field that the kind has and Causeway does not enforce. The schema only documents it: the refusal,
 * with its reason, is the policy package's, which knows what it enforces.
 */
export function notEnforced(what: string) {
  return maybe(z.unknown().meta({ description: `Refused: ${what} not enforced yet.` }));
}

/** A text that `allowed` accepts; the message says what is allowed. */
export function text(allowed: (value: string) => boolean, message: string): z.ZodString {
  return z
    .string()
    .refine(allowed, { message: `must be ${message}` })
    .meta({ description: `Must be ${message}.` });
}

/** A list whose entries have names of their own: the second of a name is refused. */
export function namedList<S extends z.ZodType<{ name: string }>>(entry: S, most: number) {
  return z
    .array(entry)
    .max(most)
    .superRefine((entries, context) => {
      const seen = new Set<string>();
      entries.forEach(({ name }, index) => {
        if (seen.has(name)) {
          context.addIssue({
            code: 'custom',
            path: [index, 'name'],
            message: 'must be unique in its list',
            input: name,
          });
        }
        seen.add(name);
      });
    });
}
