import { Address } from '@causeway/ip';
import type { Problem } from './errors.ts';
import { PROTOCOLS, type Protocol } from './model.ts';

export type Json = Readonly<Record<string, unknown>>;

/** Reads untyped JSON and notes what is wrong with it; `null` counts as absent, as in Go's JSON. */
export class Fields {
  readonly problems: Problem[] = [];

  problem(path: string, message: string, value?: unknown): undefined {
    const text = `${path} ${message}`;
    this.problems.push(
      value === undefined ? { path, message: text } : { path, message: text, value },
    );
    return undefined;
  }

  object(value: unknown, path: string): Json | undefined {
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'object' && !Array.isArray(value)) return value as Json;
    return this.problem(path, 'must be an object', value);
  }

  list(value: unknown, path: string): readonly unknown[] {
    if (value === undefined || value === null) return [];
    if (!Array.isArray(value)) {
      this.problem(path, 'must be a list', value);
      return [];
    }
    if (value.length <= MAX_LIST) return value;
    this.problem(path, `has ${value.length} members, at most ${MAX_LIST} are taken`);
    return [];
  }

  string(value: unknown, path: string): string | undefined {
    if (value === undefined || value === null) return undefined;
    return typeof value === 'string' ? value : this.problem(path, 'must be a string', value);
  }

  boolean(value: unknown, path: string): boolean | undefined {
    if (value === undefined || value === null) return undefined;
    return typeof value === 'boolean' ? value : this.problem(path, 'must be true or false', value);
  }

  integer(value: unknown, path: string, min: number, max: number): number | undefined {
    if (value === undefined || value === null) return undefined;
    if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) {
      return value as number;
    }
    return this.problem(path, `must be ${min} to ${max}`, value);
  }

  choice<T extends string>(value: unknown, path: string, choices: readonly T[]): T | undefined {
    if (value === undefined || value === null || value === '') return undefined;
    if (choices.includes(value as T)) return value as T;
    return this.problem(path, `must be one of ${choices.join(', ')}`, value);
  }

  protocol(value: unknown, path: string): Protocol {
    return this.choice(value, path, Object.keys(PROTOCOLS) as Protocol[]) ?? 'TCP';
  }

  address(value: unknown, path: string): Address | undefined {
    const address = typeof value === 'string' ? Address.tryParse(value) : undefined;
    return address ?? this.problem(path, 'must be an IPv4 or IPv6 address', value);
  }

  /** As Kubernetes has it: nobody can take to himself what every node has, or what stays on a link. */
  ordinaryAddress(value: unknown, path: string): Address | undefined {
    const address = this.address(value, path);
    if (address === undefined) return undefined;
    const special =
      Address.isUnspecified(address) ||
      Address.isLoopback(address) ||
      Address.isLinkLocal(address) ||
      Address.isMulticast(address);
    if (!special) return address;
    const allowed = 'must be no loopback, link-local, multicast or unspecified address';
    return this.problem(path, allowed, address);
  }

  strings(value: unknown, path: string): Readonly<Record<string, string>> | undefined {
    const object = this.object(value, path);
    if (object === undefined) return undefined;
    return Object.fromEntries(
      Object.entries(object).flatMap(([key, text]) => {
        const read = this.string(text, `${path}[${key}]`);
        return read === undefined ? [] : [[key, read]];
      }),
    );
  }
}

/** Kubernetes keeps slices at 1,000 endpoints at most; ten times that from anybody else. */
const MAX_LIST = 10_000;

export interface ObjectMeta {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly deleting: boolean;
}

export function readMeta(fields: Fields, object: Json): ObjectMeta | undefined {
  const meta = fields.object(object.metadata, 'metadata');
  const name = fields.string(meta?.name, 'metadata.name');
  if (meta === undefined || name === undefined || name === '') {
    return fields.problem('metadata.name', 'must be given');
  }
  return {
    name,
    namespace: fields.string(meta.namespace, 'metadata.namespace') || 'default',
    labels: fields.strings(meta.labels, 'metadata.labels') ?? {},
    annotations: fields.strings(meta.annotations, 'metadata.annotations') ?? {},
    deleting: typeof meta.deletionTimestamp === 'string' && meta.deletionTimestamp !== '',
  };
}
