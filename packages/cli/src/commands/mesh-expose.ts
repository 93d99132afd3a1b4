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
import { sweepLeft } from '@causeway/operator';
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
    restart: toRestart(options.rotate === true || options.retire === true, written),
  };
  if (json) {
    printJson(report);
    return;
  }
  printLine(`certificates of ${report.cluster} in ${report.directory}`);
  printLine(report.written.length === 0 ? '  all good' : `  written: ${report.written.join(', ')}`);
  for (const each of newest(directory))
    printLine(`  ${each.user}: ${daysLeft(new Date(each.notAfter), now)} days left`);
  printLine('\netcd is to be started with:');
  printLine(`  ${etcd.join(' ').replaceAll(' --', ' \\\n  --')}`);
  printLine('\nagents and operators reach it with (etcd.tls):');
  printLine(`  caFile: ${caFile}\n  certFile: ${certFile}\n  keyFile: ${keyFile}`);
  for (const { peer, command, unit } of proxies)
    printLine(`\nthe proxy for ${peer} (${unit}):\n  ${command}`);
  printLine(`\n${store.text}`);
  if (report.restart.length > 0)
    printLine(`restart ${report.restart.join(', ')}: they read these files at their start only`);
}

/** Programs that read what was written at their start only. etcd and proxies read their own certificate anew. */
function toRestart(authority: boolean, written: readonly string[]): readonly string[] {
  if (authority) return ['etcd', 'proxies', 'operators'];
  return written.includes('server.crt') ? ['operators'] : [];
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
}> {
  await using own = openOwnStore(invocation);
  const { kv, auth, directory } = own;
  const { cluster } = directory;
  try {
    await setUpAuth(auth, cluster);
    for (const { peer } of proxies) await admitPeer(auth, cluster, peer);
    const removed = await sweepLeft({ kv, auth, directory, now: () => now });
    const users = `root, ${ownUser(cluster)}, ${localUser(cluster)}`;
    const gone = removed.length === 0 ? '' : `; removed those who left: ${removed.join(', ')}`;
    return {
      ready: true,
      text: `the store has its users (${users}) and asks for them${gone}`,
      removed,
    };
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'unavailable') throw error;
    const text = `the store does not answer yet: ${(error as Error).message}\nstart etcd as above, then run this again for its users and roles`;
    return { ready: false, text, removed: [] };
  }
}

/** The certificate of each user that lasts the longest. */
function newest(directory: StoreDirectory) {
  const byUser = new Map<string, { user: string; notAfter: string }>();
  for (const each of directory.issued) {
    if (each.revoked !== undefined) continue;
    const known = byUser.get(each.user);
    if (known === undefined || known.notAfter < each.notAfter) byUser.set(each.user, each);
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
