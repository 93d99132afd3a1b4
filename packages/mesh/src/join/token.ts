import { PkiError, seal, unseal } from '@causeway/pki';
import * as z from 'zod';
import { MeshError } from '../errors.ts';
import { clusterFacts } from './facts.ts';

/** The first part of a token; another says that another version of the form stands behind it. */
const FORM = 'causeway1';
/** Nobody pastes more, and nothing greater is looked at. */
const MAX_TOKEN = 1_048_576;
/** Machines' clocks differ by so much at most. */
const SKEW_MS = 120_000;

const pem = z.string().min(1).max(65_536);
const url = z.url({ protocol: /^https$/ }).max(2048);

/** How one cluster's store is reached by the other, and as whom. */
export const storeOffer = z.object({
  endpoints: z.array(url).min(1).max(64),
  /** The name in the server's certificate, where it is not the endpoint's host. */
  serverName: z.string().min(1).max(253).exactOptional(),
  /** The authorities that the server's certificate leads to, PEM. */
  ca: pem,
  certificate: pem,
  key: pem,
});

const payload = z.object({
  /** `invite` begins a join, `return` answers one by hand, `renew` brings new certificates to who has joined. */
  type: z.enum(['invite', 'return', 'renew']),
  id: z.uuid(),
  /** The cluster that may use it. */
  for: z.string(),
  issuedAt: z.iso.datetime(),
  expiresAt: z.iso.datetime(),
  from: clusterFacts,
  offer: storeOffer,
  /** Shows to the one who gave the token that one has it. */
  secret: z.string().regex(/^[-_A-Za-z0-9]{43}$/),
  /** Where the operators of the giver take joins; empty: only by hand. */
  join: z.array(url).max(16),
  /** Of a `return`: the invitation that it answers, and the secret that was in it. */
  answers: z.object({ id: z.uuid(), secret: z.string() }).exactOptional(),
});

export type StoreOffer = z.infer<typeof storeOffer>;
export type JoinToken = z.infer<typeof payload>;

/** The token as text of one line: worthless without the code, and spoilt by any change. */
export const sealToken = (token: JoinToken, code: string): string =>
  `${FORM}.${seal(JSON.stringify(token), code, FORM)}`;

/** Throws MeshError `bad-token` that says which of the things that can be wrong is. */
export function openToken(text: string, code: string): JoinToken {
  // Mail and terminals break lines.
  const plain = text.replaceAll(/\s/g, '');
  const [form = '', sealed = '', ...more] = plain.split('.');
  if (plain.length > MAX_TOKEN || sealed === '' || more.length > 0 || !/^causeway\d+$/.test(form))
    throw bad('the text is not a token: it must begin with causeway1.');
  if (form !== FORM) throw bad(`the token is of the form ${form}, and only ${FORM} is known here`);
  let opened: string;
  try {
    opened = unseal(sealed, code, FORM);
  } catch (error) {
    if (error instanceof PkiError) throw bad(`the token cannot be opened: ${error.message}`);
    throw error;
  }
  const parsed = payload.safeParse(parse(opened));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw bad(`the token is of a version unknown here: ${issue?.path.join('.')} ${issue?.message}`);
}

/** Throws MeshError `bad-token` unless the token is for this cluster and in its time. */
export function checkToken(token: JoinToken, own: string, now: Date): void {
  if (token.for !== own)
    throw bad(`the token is for cluster ${token.for}, and this is ${own}`, token.for);
  if (token.from.name === own) throw bad(`the token is by ${own} itself`, own);
  if (now.getTime() > new Date(token.expiresAt).getTime())
    throw bad(`the token's time ended at ${token.expiresAt}: ask for a new one`, token.expiresAt);
  if (now.getTime() + SKEW_MS < new Date(token.issuedAt).getTime())
    throw bad(
      `the token is of the future, ${token.issuedAt}: one of the clocks is wrong`,
      token.issuedAt,
    );
}

const bad = (message: string, value?: unknown): MeshError =>
  new MeshError('bad-token', message, value);

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
