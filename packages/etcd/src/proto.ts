/** The messages of etcd.proto as proto-loader gives them: 64-bit numbers as decimal text, absent fields filled in. */

import { join } from 'node:path';
import type { ServiceClientConstructor, ServiceDefinition } from '@grpc/grpc-js';
import { loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { decodeRange } from './range-message.ts';

export interface WireHeader {
  readonly cluster_id: string;
  readonly member_id: string;
  readonly revision: string;
}

export interface WireKeyValue {
  readonly key: Buffer;
  readonly create_revision: string;
  readonly mod_revision: string;
  readonly version: string;
  readonly value: Buffer;
  readonly lease: string;
}

export interface WireRange {
  readonly header: WireHeader | null;
  readonly kvs: readonly WireKeyValue[];
  readonly more: boolean;
}

export interface WireTxn {
  readonly header: WireHeader | null;
  readonly succeeded: boolean;
  readonly responses: readonly {
    readonly response_range?: WireRange | null;
    readonly response_delete_range?: { readonly deleted: string } | null;
  }[];
}

export interface WireWatch {
  readonly header: WireHeader | null;
  readonly created: boolean;
  readonly canceled: boolean;
  readonly compact_revision: string;
  readonly cancel_reason: string;
  readonly fragment: boolean;
  readonly events: readonly { readonly type: 'PUT' | 'DELETE'; readonly kv: WireKeyValue }[];
}

export interface WireLease {
  readonly header: WireHeader | null;
  readonly ID: string;
  readonly TTL: string;
}

export interface WireNames {
  readonly header: WireHeader | null;
  readonly names: readonly string[];
}

export interface WirePermission {
  readonly permType: 'READ' | 'WRITE' | 'READWRITE';
  readonly key: Buffer;
  readonly range_end: Buffer;
}

export interface WireRole {
  readonly header: WireHeader | null;
  readonly perm: readonly WirePermission[];
}

interface Services {
  readonly etcdserverpb: {
    readonly KV: ServiceClientConstructor;
    readonly Watch: ServiceClientConstructor;
    readonly Lease: ServiceClientConstructor;
    readonly Maintenance: ServiceClientConstructor;
    readonly Auth: ServiceClientConstructor;
  };
}

let loaded: Services['etcdserverpb'] | undefined;

/** The services; the file is read once, at the first connection. */
export function services(): Services['etcdserverpb'] {
  if (loaded !== undefined) return loaded;
  const definition = loadSync(join(import.meta.dirname, '..', 'etcd.proto'), {
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  });
  const { Range } = definition['etcdserverpb.KV'] as ServiceDefinition;
  if (Range !== undefined) Range.responseDeserialize = decodeRange;
  loaded = (loadPackageDefinition(definition) as unknown as Services).etcdserverpb;
  return loaded;
}
