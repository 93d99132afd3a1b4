import { globSync } from 'node:fs';
import { inspectCertificate } from '@causeway/pki';
import * as z from 'zod';
import { MeshError } from '../errors.ts';
import type { CertificateFiles } from './files.ts';

/** One certificate that was given out. */
const issued = z.strictObject({
  serial: z.string().regex(/^[0-9A-F]{1,40}$/),
  user: z.string(),
  /** The authority's fingerprint. */
  authority: z.string(),
  notAfter: z.iso.datetime(),
  /** When it was taken back. */
  revoked: z.iso.datetime().exactOptional(),
  /** A peer's proxy, which stays with us; absent: whoever the user is. */
  of: z.literal('proxy').exactOptional(),
});

export type Issued = z.infer<typeof issued>;

const urls = z.array(z.url({ protocol: /^https?$/ })).max(64);

/** How the store is reached. */
export const exposureSchema = z.strictObject({
  /** By other clusters. */
  endpoints: urls,
  /** By ourselves. */
  etcd: urls,
  /** Our operators' join endpoints, by other clusters. */
  join: urls,
});

export type Exposure = z.infer<typeof exposureSchema>;

/** What a `StoreDirectory` knows beside its files. */
const ledgerSchema = z.strictObject({
  version: z.literal(1),
  cluster: z.string(),
  /** DNS names and addresses in the server's certificate. */
  names: z.array(z.string()).min(1),
  /** `own`: made by us; `site`: given to us. */
  authority: z.enum(['own', 'site']),
  exposure: exposureSchema.exactOptional(),
  issued: z.array(issued),
});

export type Ledger = z.infer<typeof ledgerSchema>;

/** Without what was good only until before now: it needs no revoking any more. */
export const withoutExpired = (ledger: Ledger, now: Date): Ledger => ({
  ...ledger,
  issued: ledger.issued.filter(({ notAfter }) => new Date(notAfter) >= now),
});

/** Throws MeshError `bad-value`. */
export function readLedger(files: CertificateFiles): Ledger | undefined {
  const text = files.read('ledger.json');
  if (text === undefined) return undefined;
  try {
    return withProxies(ledgerSchema.parse(JSON.parse(text)), files);
  } catch (cause) {
    const file = files.file('ledger.json');
    throw new MeshError('bad-value', `${file} is not a ledger: ${String(cause)}`, file);
  }
}

/** Ledgers of older versions do not say which certificates are proxies': those whose files stand beside them. */
function withProxies(ledger: Ledger, files: CertificateFiles): Ledger {
  const proxies = globSync('peers/*/proxy.crt', { cwd: files.path }).map((name) =>
    serialIn(files.read(name)),
  );
  const serials = new Set(proxies);
  for (const each of ledger.issued) if (serials.has(each.serial)) each.of = 'proxy';
  return ledger;
}

/** A spoilt file is told of by whoever needs it, and keeps nobody from the others. */
function serialIn(certificate: string | undefined): string | undefined {
  try {
    return certificate === undefined ? undefined : inspectCertificate(certificate).serial;
  } catch {
    return undefined;
  }
}
