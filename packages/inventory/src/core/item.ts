import { Address } from '@causeway/ip';
import { isDnsLabel } from '@causeway/resources';
import { InventoryError } from '../errors.ts';
import { PLATFORMS, type Platform, type SourceItem } from '../source.ts';

/** A source's item after every field was looked at. */
export interface Item {
  readonly id: string;
  readonly name: string;
  readonly addresses: readonly Address[];
  readonly platform: Platform;
  readonly labels: Readonly<Record<string, string>>;
  readonly attributes: Readonly<Record<string, string>>;
  readonly namespace: string | undefined;
  readonly namespaceLabels: Readonly<Record<string, string>>;
  readonly serviceAccount: string | undefined;
  readonly site: string | undefined;
  readonly nodeAddress: Address | undefined;
  readonly ttlSeconds: number | undefined;
  readonly version: string | undefined;
}

export const ITEM_LIMITS = Object.freeze({
  text: 253,
  addresses: 64,
  labels: 128,
  attributes: 512,
  attributeText: 4096,
  ttlSeconds: 31_536_000,
});

const EMPTY: Readonly<Record<string, string>> = Object.freeze({});
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not come in.
const CONTROL = /[\u0000-\u001f\u007f\u2028\u2029]/;

/** @throws InventoryError `bad-item` naming the first field that no endpoint can have, and its value. */
export function checkItem(given: SourceItem): Item {
  if (given.problem !== undefined) {
    throw new InventoryError('bad-item', String(given.problem).slice(0, 1000));
  }
  return {
    id: text(given.id, 'id'),
    name: text(given.name, 'name'),
    addresses: addresses(given.addresses),
    platform: platform(given.platform),
    labels: texts(given.labels, 'labels', ITEM_LIMITS.labels, ITEM_LIMITS.attributeText),
    attributes: texts(
      given.attributes,
      'attributes',
      ITEM_LIMITS.attributes,
      ITEM_LIMITS.attributeText,
    ),
    namespace: namespace(given.namespace),
    namespaceLabels: texts(
      given.namespaceLabels,
      'namespaceLabels',
      ITEM_LIMITS.labels,
      ITEM_LIMITS.attributeText,
    ),
    serviceAccount: optional(given.serviceAccount, 'serviceAccount'),
    site: optional(given.site, 'site'),
    nodeAddress:
      given.nodeAddress === undefined
        ? undefined
        : machineAddress(given.nodeAddress, 'nodeAddress'),
    ttlSeconds: ttl(given.ttlSeconds),
    version: given.version === undefined ? undefined : text(given.version, 'version'),
  };
}

/** Refuses what means another machine on every link, or none. @throws InventoryError `bad-item`. */
export function machineAddress(given: unknown, field: string): Address {
  const address = typeof given === 'string' ? Address.tryParse(given) : undefined;
  if (address === undefined) {
    throw bad(
      field,
      given,
      'must be an address such as 192.0.2.7 or 2001:db8::7, without a length',
    );
  }
  if (Address.isUnspecified(address))
    throw bad(field, given, 'must not be the unspecified address');
  if (Address.isLoopback(address)) throw bad(field, given, 'must not be a loopback address');
  if (Address.isMulticast(address)) throw bad(field, given, 'must not be a multicast address');
  if (Address.isLinkLocal(address)) {
    throw bad(field, given, 'must not be link-local: it is another machine on every link');
  }
  if (address === '255.255.255.255') throw bad(field, given, 'must not be the broadcast address');
  return address;
}

function addresses(given: unknown): readonly Address[] {
  if (!Array.isArray(given)) throw bad('addresses', given, 'must be a list of addresses');
  if (given.length > ITEM_LIMITS.addresses) {
    throw bad('addresses', given.length, `must be at most ${ITEM_LIMITS.addresses}`);
  }
  return [...new Set(given.map((each, index) => machineAddress(each, `addresses[${index}]`)))];
}

function platform(given: unknown): Platform {
  if (PLATFORMS.includes(given as Platform)) return given as Platform;
  throw bad('platform', given, `must be one of ${PLATFORMS.join(', ')}`);
}

function namespace(given: unknown): string | undefined {
  if (given === undefined) return undefined;
  if (typeof given === 'string' && isDnsLabel(given)) return given;
  throw bad('namespace', given, 'must be a namespace: a DNS label of at most 63 characters');
}

function ttl(given: unknown): number | undefined {
  if (given === undefined) return undefined;
  if (
    Number.isInteger(given) &&
    (given as number) >= 1 &&
    (given as number) <= ITEM_LIMITS.ttlSeconds
  ) {
    return given as number;
  }
  throw bad('ttlSeconds', given, `must be a whole number, 1 to ${ITEM_LIMITS.ttlSeconds}`);
}

const optional = (given: unknown, field: string): string | undefined =>
  given === undefined ? undefined : text(given, field);

function text(given: unknown, field: string): string {
  if (typeof given !== 'string' || given === '' || given.length > ITEM_LIMITS.text) {
    throw bad(field, given, `must be a text of 1 to ${ITEM_LIMITS.text} characters`);
  }
  if (CONTROL.test(given)) throw bad(field, given, 'must not contain control characters');
  return given;
}

function texts(
  given: unknown,
  field: string,
  most: number,
  longest: number,
): Readonly<Record<string, string>> {
  if (given === undefined) return EMPTY;
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw bad(field, given, 'must be a map of texts');
  }
  const entries = Object.entries(given);
  if (entries.length === 0) return EMPTY;
  if (entries.length > most) throw bad(field, entries.length, `must be at most ${most}`);
  for (const [key, value] of entries) {
    if (typeof value !== 'string' || value.length > longest || key.length > longest) {
      throw bad(`${field}.${key}`, value, `must be a text of at most ${longest} characters`);
    }
  }
  return given as Readonly<Record<string, string>>;
}

const bad = (field: string, value: unknown, rule: string): InventoryError =>
  new InventoryError('bad-item', `${field} ${rule}`, { field, value });
