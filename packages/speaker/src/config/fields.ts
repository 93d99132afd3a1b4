import { Asn, RouterId } from '@causeway/bgp';
import { Address, Prefix } from '@causeway/ip';
import { z } from 'zod';

/** Fields whose text is checked by the packages that own the type, so that one place says what each is. */

function checked<T>(parse: (text: string) => T, message: string): z.ZodType<T, string> {
  return z.string().transform((text, context) => {
    try {
      return parse(text);
    } catch {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    }
  });
}

export const address = checked(
  Address.parse,
  'must be an IPv4 or IPv6 address such as 192.0.2.1 or 2001:db8::1',
);

export const cidr = checked(
  (text) => Prefix.parse(text),
  'must be a prefix with its host bits clear, such as 10.0.0.0/8',
);

export const routerId = checked(
  RouterId.parse,
  'must be a BGP identifier: a dotted quad that is not 0.0.0.0',
);

/** A number, or text in asplain or asdot. */
export const asn = z.union([z.int(), z.string()]).transform((value, context) => {
  try {
    return typeof value === 'number' ? Asn.of(value) : Asn.parse(value);
  } catch {
    context.addIssue({ code: 'custom', message: 'must be an AS number: 1 to 4294967295' });
    return z.NEVER;
  }
});

/** Where a word may stand in place of an AS number. */
export const asnOr = <const W extends readonly [string, ...string[]]>(...words: W) =>
  z.union([z.enum(words), z.int(), z.string()]).transform((value, context) => {
    if (typeof value === 'string' && words.includes(value)) return value as W[number];
    try {
      return typeof value === 'number' ? Asn.of(value) : Asn.parse(value);
    } catch {
      context.addIssue({
        code: 'custom',
        message: `must be an AS number (1 to 4294967295) or ${words.join(' or ')}`,
      });
      return z.NEVER;
    }
  });

export const port = z.int().min(1).max(65535);
export const seconds = (min: number, max: number) => z.number().min(min).max(max);

/** As the kernel takes it (dev_valid_name). */
export const interfaceName = z
  .string()
  .regex(/^(?!\.{1,2}$)[^/:\s\0]{1,15}$/, 'must be an interface name of 1 to 15 characters');

/** Names of neighbours, policies and sets. `@` and `/` are kept for what is derived from names. */
export const name = z
  .string()
  .regex(
    /^[A-Za-z0-9][-A-Za-z0-9._:]{0,127}$/,
    'must be a name of 1 to 128 letters, digits, dots, dashes, colons and underscores',
  );

export const family = z.enum(['ipv4-unicast', 'ipv6-unicast']);
