import * as z from 'zod';
import { descriptor } from './codec.ts';
import { apiVersionOf, type KindDescriptor, type KindName } from './kinds.ts';

/** JSON Schema of what a manifest of the kind may hold, as a CRD's `openAPIV3Schema` would say it. */
export function jsonSchemaOf(kind: KindName): Record<string, unknown> {
  const schema = descriptor(kind).schema;
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Record<string, unknown>;
}

/** One field of a kind, for documentation and `explain`. */
export interface FieldDoc {
  /** `spec.ports[].port`; maps are `labels{}`. */
  readonly path: string;
  readonly type: string;
  readonly required: boolean;
  readonly description: string | undefined;
}

export interface KindDoc {
  readonly kind: KindName;
  readonly apiVersion: string;
  readonly namespaced: boolean;
  readonly description: string;
  readonly fields: readonly FieldDoc[];
}

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
}

/** Every field of a kind in the order of its schema. */
export function describeKind(kind: KindName): KindDoc {
  const of = descriptor(kind) as KindDescriptor;
  const schema = jsonSchemaOf(kind) as Schema;
  const fields: FieldDoc[] = [];
  walk(schema, '', fields);
  return {
    kind,
    apiVersion: apiVersionOf(of),
    namespaced: of.namespaced,
    description: schema.description ?? '',
    fields,
  };
}

function walk(schema: Schema, path: string, into: FieldDoc[]): void {
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const at = path === '' ? name : `${path}.${name}`;
    into.push({
      path: at,
      type: typeText(field),
      required: schema.required?.includes(name) ?? false,
      description: field.description,
    });
    descend(field, at, into);
  }
}

function descend(schema: Schema, path: string, into: FieldDoc[]): void {
  if (schema.items !== undefined) descend(schema.items, `${path}[]`, into);
  else walk(schema, path, into);
}

function typeText(schema: Schema): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((each) => JSON.stringify(each)).join(' | ');
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeText).join(' | ');
  if (schema.items !== undefined) return `${typeText(schema.items)}[]`;
  return schema.type ?? 'any';
}
