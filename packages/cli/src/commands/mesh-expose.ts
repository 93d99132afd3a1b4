import { readFileSync, writeFileSync } from 'node:fs';
import {
  admitPeer,
  daysLeft,
  etcdTlsArguments,
  localUser,
  ownUser,
  proxyArguments,
  proxyUnit,
  StoreDirectory,
  setUpAuth,
  shellText,
} from '@causeway/mesh';
import { type Swept, sweepPeers } from '@causeway/operator';
import { CliError } from '../errors.ts';
import { printJson, printLine } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';
import { openOwnStore, textOption, urlsOption } from './mesh-store.ts';

const LOCAL_NAMES = ['localhost', '127.0.0.1', '::1'];

interface ProxyReport {
  readonly peer: string;
  readonly listen: string;
  readonly command: string;
  /** A file for systemd. */
  readonly unit: string;
}

/** Certificates first, as etcd needs them to start; then users and roles, as soon as it answers. */
export async function meshExpose(invocation: Invocation): Promise<void> {
  const { json, options } = invocation;
  const now = new Date();
  const { directory, written } = await settle(invocation, now);
  if (options.rotate === true) written.push(...(await directory.rotate(now)).written);
  if (options.retire === true)
    written.push(...(await directory.retire(now, { force: options.force === true })).written);
  const proxies = await makeProxies(invocation, directory, now);
  const store = await giveUsers(invocation, proxies, now);
  const etcd = etcdTlsArguments(directory.serverFiles());
  const { certFile, keyFile, caFile } = directory.userFiles(ownUser(directory.cluster));
  const report = {
    cluster: directory.cluster,
    directory: directory.path,
    written: [...new Set(written)],
    etcd,
    own: { user: ownUser(directory.cluster), tls: { caFile, certFile, keyFile } },
    proxies,
    store,
    next: nextSteps(invocation, directory, written, now),
  };
  if (json) {
    printJson(report);
    return;
  }
  printLine(`certificates of ${report.cluster} in ${report.directory}`);
  printLine(report.written.length === 0 ? '  all good' : `  written: ${report.written.join(', ')}`);
  for (const { user, notAfter, good } of newest(directory, now))
    printLine(
      `  ${user}: ${daysLeft(new Date(notAfter), now)} days left${good > 1 ? `, ${good} certificates are good: "causeway mesh revoke" leaves the last` : ''}`,
    );
  printLine('\netcd is to be started with:');
  printLine(`  ${etcd.join(' ').replaceAll(' --', ' \\\n  --')}`);
  printLine('\nagents and operators reach it with (etcd.tls):');
  printLine(`  caFile: ${caFile}\n  certFile: ${certFile}\n  keyFile: ${keyFile}`);
  for (const { peer, command, unit } of proxies)
    printLine(`\nthe proxy for ${peer} (${unit}):\n  ${command}`);
  printLine(`\n${store.text}`);
  for (const [i, step] of report.next.entries())
    printLine(`${i === 0 ? '\nto be done now, in this order:\n' : ''}  ${i + 1}. ${step}`);
}

/**
 * What is left to do by hand. etcd, its proxies and the operators' join endpoint read authorities at their start only; etcd
 * and proxies read their own certificate and the revocations at each handshake, agents theirs at each connection.
 */
function nextSteps(
  { options }: Invocation,
  directory: StoreDirectory,
  written: readonly string[],
  now: Date,
): readonly string[] {
  const restart =
    'restart etcd, then the proxies, then the operators: they know authorities from their start';
  if (options.rotate === true) {
    const behind = directory.behind(now).map((user) => user.replace(/^remote-/, ''));
    return [
      restart,
      'give agents and operators elsewhere trust.crt and their certificate; agents read them by themselves',
      ...behind.map(
        (peer) => `give ${peer} new certificates: causeway mesh token --for ${peer} --renew`,
      ),
      'causeway mesh expose --retire',
    ];
  }
  if (options.retire === true || written.includes('trust.crt')) return [restart];
  return written.includes('server.crt')
    ? ['restart the operators: their join endpoint reads its certificate at their start']
    : [];
}

async function settle(invocation: Invocation, now: Date) {
  const path = textOption(invocation, 'pki') ?? '';
  const before = openIfThere(path);
  const cluster = textOption(invocation, 'cluster') ?? before?.cluster;
  if (cluster === undefined) {
    throw new CliError('bad-usage', 'which cluster is this?', {
      field: '--cluster',
      hint: 'the name in its agents’ configuration (cluster.name)',
    });
  }
  const endpoints =
    urlsOption(invocation, 'endpoints', '--endpoints') ?? before?.exposure?.endpoints;
  if (endpoints === undefined || endpoints.length === 0) {
    throw new CliError('bad-usage', 'how do other clusters reach the store?', {
      field: '--endpoints',
      hint: 'such as --endpoints https://192.0.2.1:2379',
    });
  }
  const etcd = urlsOption(invocation, 'etcd', '--etcd') ?? before?.exposure?.etcd ?? endpoints;
  const join = urlsOption(invocation, 'join', '--join') ?? before?.exposure?.join ?? [];
  const more = textOption(invocation, 'names')?.split(',') ?? before?.names ?? [];
  const hosts = [...endpoints, ...etcd, ...join].map((url) =>
    new URL(url).hostname.replace(/^\[|\]$/g, ''),
  );
  const names = [...new Set([...hosts, ...more.map((name) => name.trim()), ...LOCAL_NAMES])];
  const authority = siteAuthority(invocation);
  const { directory, report } = await StoreDirectory.settle(path, {
    cluster,
    names,
    exposure: { endpoints: [...endpoints], etcd: [...etcd], join: [...join] },
    ...(authority === undefined ? {} : { authority }),
    now,
  });
  return { directory, written: [...report.written] };
}

function siteAuthority(invocation: Invocation) {
  const certificate = textOption(invocation, 'caCert');
  const key = textOption(invocation, 'caKey');
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate === undefined || key === undefined) {
    throw new CliError('bad-usage', "the site's authority is a certificate and a key", {
      field: certificate === undefined ? '--ca-cert' : '--ca-key',
    });
  }
  return { certificate: readText('--ca-cert', certificate), key: readText('--ca-key', key) };
}

async function makeProxies(
  invocation: Invocation,
  directory: StoreDirectory,
  now: Date,
): Promise<ProxyReport[]> {
  const wanted = invocation.options.proxy as readonly string[];
  const made: ProxyReport[] = [];
  for (const text of wanted) {
    const [peer = '', listen = '', ...more] = text.split('=');
    if (!/^.+:\d{1,5}$/.test(listen) || more.length > 0) {
      throw new CliError('bad-usage', `${JSON.stringify(text)} is not PEER=HOST:PORT`, {
        field: '--proxy',
        value: text,
      });
    }
    const files = await directory.proxyFiles(peer, now);
    const args = proxyArguments(files, {
      listen,
      endpoints: directory.exposure?.etcd ?? [],
      dataDir: `/var/lib/causeway-mesh-proxy/${peer}`,
    });
    const unit = directory.file('peers', peer, 'proxy.service');
    writeFileSync(unit, proxyUnit(peer, args));
    made.push({ peer, listen, command: shellText('etcd', args), unit });
  }
  return made;
}

/** Users and roles, if the store answers. It may not yet: it needs the certificates to start. */
async function giveUsers(
  invocation: Invocation,
  proxies: readonly ProxyReport[],
  now: Date,
): Promise<{
  readonly ready: boolean;
  readonly text: string;
  readonly removed: readonly string[];
  readonly renewed: readonly string[];
}> {
  await using own = openOwnStore(invocation);
  const { kv, auth, directory } = own;
  const { cluster } = directory;
  try {
    await setUpAuth(auth, cluster);
    for (const { peer } of proxies) await admitPeer(auth, cluster, peer);
    const swept = await sweepPeers({ kv, auth, directory, now: () => now });
    const users = `root, ${ownUser(cluster)}, ${localUser(cluster)}`;
    return {
      ready: true,
      text: `the store has its users (${users}) and asks for them${sweptInWords(swept)}`,
      ...swept,
    };
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'unavailable') throw error;
    const text = `the store does not answer yet: ${(error as Error).message}\nstart etcd as above, then run this again for its users and roles`;
    return { ready: false, text, removed: [], renewed: [] };
  }
}

function sweptInWords({ removed, renewed }: Swept): string {
  const gone = removed.length === 0 ? '' : `; removed those who left: ${removed.join(', ')}`;
  const old = renewed.length === 0 ? '' : `; took back old certificates: ${renewed.join(', ')}`;
  return gone + old;
}

/** When each user's last certificate ends, and how many it has beside those of proxies. */
function newest(directory: StoreDirectory, now: Date) {
  const byUser = new Map<string, { user: string; notAfter: string; good: number }>();
  for (const { user, notAfter, revoked, of } of directory.issued) {
    if (revoked !== undefined || new Date(notAfter) < now) continue;
    const known = byUser.get(user) ?? { user, notAfter, good: 0 };
    if (known.notAfter < notAfter) known.notAfter = notAfter;
    if (of === undefined && user.startsWith('remote-')) known.good++;
    byUser.set(user, known);
  }
  return [...byUser.values()];
}

function openIfThere(path: string): StoreDirectory | undefined {
  try {
    return StoreDirectory.open(path);
  } catch (error) {
    if ((error as { code?: unknown }).code === 'not-exposed') return undefined;
    throw error;
  }
}

export function readText(field: string, file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (cause) {
    throw new CliError('bad-input', `${file} cannot be read: ${(cause as Error).message}`, {
      field,
      value: file,
      cause,
    });
  }
}
