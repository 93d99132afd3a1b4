import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import {
  type CallOptions,
  connectKv,
  type KeyRange,
  type Kv,
  KvError,
  rangeText,
} from '@causeway/etcd';
import {
  clusterConfigKey,
  decodeClusterConfig,
  type PeerView,
  rightsToTry,
  type StoreOffer,
} from '@causeway/mesh';
import { checkCredentials, PkiError } from '@causeway/pki';
import { readNodes } from './facts.ts';

/** For one endpoint to answer; a join waits for people, not for networks. */
const ENDPOINT_MS = 5_000;
const CALL_MS = 8_000;
/** For all calls together: a store that answers each of them in time could go on for ever. */
const LOOK_MS = 30_000;

const NOTHING = { nodes: [], tunnelPorts: [], routingModes: [], mtus: [] } as const;

/**
 * Tries the credentials that another cluster gave: is each endpoint reached, is it the server that it should be, may
 * one read what one must and nothing else, what does the store say. Writes nothing, and never throws for what it
 * finds.
 */
export async function viewPeer(offer: StoreOffer, cluster: string, now: Date): Promise<PeerView> {
  const fault = credentialsFault(offer, now);
  const endpoints = await Promise.all(
    offer.endpoints.map(async (url) =>
      fault === undefined ? tryEndpoint(url, offer) : { url, refused: fault },
    ),
  );
  const none: PeerView = {
    ...NOTHING,
    endpoints,
    unreadable: [],
    open: [],
    config: { error: 'the store was not reached' },
  };
  if (endpoints.some((each) => 'unreachable' in each || 'refused' in each)) return none;
  const { serverName } = offer;
  await using kv = connectKv({
    endpoints: offer.endpoints,
    tls: {
      ca: offer.ca,
      cert: offer.certificate,
      key: offer.key,
      ...(serverName === undefined ? {} : { serverName }),
    },
    deadline: CALL_MS,
  });
  try {
    return { ...none, ...(await look(kv, cluster, { signal: AbortSignal.timeout(LOOK_MS) })) };
  } catch (error) {
    // With TLS 1.3 a server refuses a client's certificate only after the handshake.
    const refused = `it took the connection and refused the call: ${(error as Error).message}`;
    return { ...none, endpoints: endpoints.map(({ url }) => ({ url, refused })) };
  }
}

async function look(kv: Kv, cluster: string, options: CallOptions) {
  const { readable, unreadable: closed, unwritable } = rightsToTry(cluster);
  const unreadable: string[] = [];
  const open: string[] = [];
  for (const range of readable) {
    if (await isRefused(() => read(kv, range, options))) unreadable.push(rangeText(range));
  }
  for (const range of closed) {
    if (!(await isRefused(() => read(kv, range, options))))
      open.push(rangeText(range) || 'everything');
  }
  for (const key of unwritable) {
    // Rights are judged before the comparison, which never holds: nothing is written either way.
    const never = { type: 'version', key, operator: '<', revision: 0 } as const;
    const write = () =>
      kv.txn({ compare: [never], success: [{ type: 'put', key, value: '' }] }, options);
    if (!(await isRefused(write))) open.push(`${key} for writing`);
  }
  const config = unreadable.includes(clusterConfigKey(cluster))
    ? { error: `${clusterConfigKey(cluster)} cannot be read` }
    : await readConfig(kv, cluster, options);
  const nodes = unreadable.length > 0 ? NOTHING : await readNodes(kv, cluster, options);
  return { unreadable, open, config, ...nodes };
}

const read = (kv: Kv, range: KeyRange, options: CallOptions): Promise<unknown> =>
  range.type === 'key' ? kv.get(range.key, options) : firstPage(kv, range.prefix, options);

/** Rights are judged by the whole range, whatever stands in it. */
async function firstPage(kv: Kv, prefix: string, options: CallOptions): Promise<void> {
  for await (const _page of kv.pages(prefix, { ...options, keysOnly: true, pageSize: 1 })) return;
}

async function isRefused(call: () => Promise<unknown>): Promise<boolean> {
  try {
    await call();
    return false;
  } catch (error) {
    if (error instanceof KvError && error.code === 'permission-denied') return true;
    throw error;
  }
}

async function readConfig(
  kv: Kv,
  cluster: string,
  options: CallOptions,
): Promise<PeerView['config']> {
  const key = clusterConfigKey(cluster);
  const entry = await kv.get(key, options);
  if (entry === undefined) return { error: `its store has no ${key}: none of its agents runs` };
  try {
    return decodeClusterConfig(entry.text);
  } catch (error) {
    return { error: `${key}: ${(error as Error).message}` };
  }
}

function credentialsFault(offer: StoreOffer, now: Date): string | undefined {
  try {
    checkCredentials({ ...offer, authority: offer.ca, now });
    return undefined;
  } catch (error) {
    if (error instanceof PkiError) return error.message;
    throw error;
  }
}

type Tried = PeerView['endpoints'][number];

/** TCP first, then TLS: what fails is told apart by where it fails. */
function tryEndpoint(url: string, offer: StoreOffer): Promise<Tried> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  return new Promise((resolve) => {
    let connected = false;
    const socket = connectTcp({ host, port: Number(port || 443) });
    const timer = setTimeout(() => fail(`no answer in ${ENDPOINT_MS / 1000} s`), ENDPOINT_MS);
    const done = (tried: Tried) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(tried);
    };
    const fail = (reason: string) =>
      done(connected ? { url, refused: reason } : { url, unreachable: reason });
    socket.on('error', ({ message }) => fail(message));
    socket.on('connect', () => {
      connected = true;
      try {
        const tls = connectTls({
          socket,
          host: offer.serverName ?? host,
          // An address is no name to ask for; the certificate is checked against `host` either way.
          ...(/[A-Za-z]/.test(offer.serverName ?? host) && !host.includes(':')
            ? { servername: offer.serverName ?? host }
            : {}),
          ca: offer.ca,
          cert: offer.certificate,
          key: offer.key,
          ALPNProtocols: ['h2'],
        });
        tls.on('secureConnect', () => done({ url }));
        tls.on('error', ({ message }) => fail(message));
      } catch (error) {
        fail((error as Error).message);
      }
    });
  });
}
