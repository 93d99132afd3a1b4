import { chmodSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { joinsWatches } from '@causeway/etcd';
import {
  admitPeer,
  CILIUM_DIRECTORY,
  ciliumFiles,
  PEERS,
  type StoreOffer,
  statePrefix,
} from '@causeway/mesh';
import { atWork, sweepPeers } from '@causeway/operator';
import { CliError } from '../errors.ts';
import { printJson, printLine } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';
import { openOwnStore, textOption, urlsOption } from './mesh-store.ts';

const now = (): Date => new Date();

/** What a cluster that runs Cilium needs to read this one, as files in Cilium's form; asked again, new certificates. */
export async function meshInvite(
  invocation: Invocation,
  [peer = '']: readonly string[],
): Promise<void> {
  const out = path.resolve(textOption(invocation, 'out') ?? '.');
  const at = textOption(invocation, 'at') ?? CILIUM_DIRECTORY;
  if (!path.posix.isAbsolute(at)) {
    throw new CliError('bad-input', `${JSON.stringify(at)} is not an absolute path`, {
      field: '--at',
      value: at,
    });
  }
  await using own = openOwnStore(invocation);
  const { kv, auth, directory } = own;
  const { cluster, exposure } = directory;
  if (peer === cluster) {
    throw new CliError('bad-usage', `${peer} is this cluster itself`, {
      field: 'cluster',
      value: peer,
    });
  }
  const endpoints = urlsOption(invocation, 'endpoints', '--endpoints') ?? exposure?.endpoints ?? [];
  if ((await kv.get(PEERS + peer)) !== undefined) {
    throw new CliError('already-exists', `${peer} has joined by a token`, {
      field: 'cluster',
      value: peer,
      hint: `"causeway mesh token --for ${peer} --renew" gives it new certificates`,
    });
  }
  await sweepPeers({ kv, auth, directory, now });
  await using _mine = await atWork(kv, peer);
  const { certificate, key } = await directory.issuePeer(peer, now());
  await admitPeer(auth, cluster, peer);
  const offer = { endpoints: [...endpoints], ca: directory.trust, certificate, key };
  const seen = await Promise.all(endpoints.map((each) => lookAt(each, offer, cluster)));
  const proxies = seen.filter(({ proxy }) => proxy);
  if (proxies.length > 0) {
    await directory.takeBack(certificate, now());
    const named = proxies.map(({ endpoint }) => endpoint).join(', ');
    throw new CliError(
      'bad-input',
      `${named} is etcd's grpc-proxy, behind which readers of Cilium begin again for ever`,
      {
        field: '--endpoints',
        value: named,
        hint: `name the store itself, as ${peer} reaches it: its etcd listens at ${exposure?.etcd.join(',') ?? 'https://HOST:2379'} here`,
      },
    );
  }
  const unseen = seen.flatMap(({ endpoint, problem }) =>
    problem === undefined ? [] : [{ endpoint, problem }],
  );
  const files = ciliumFiles(cluster, offer, at);
  mkdirSync(out, { recursive: true, mode: 0o700 });
  for (const [name, text] of files) writeSecret(path.join(out, name), text);
  const good = directory.clientsOf(peer, now()).length;
  const names = [...files.keys()];
  if (invocation.json) {
    printJson({ peer, cluster, directory: out, files: names, certificates: good, unseen });
    return;
  }
  printLine(`for ${peer}, in ${out}: ${names.join(', ')}`);
  printLine(`its agents read ${cluster} once these stand in ${at}, as keys of its Secret:`);
  printLine(`  kubectl -n kube-system create secret generic cilium-clustermesh --from-file=${out}`);
  printLine('its own such files, in our agents’ mesh.configDir, are the other way round');
  for (const { endpoint, problem } of unseen)
    printLine(
      `${endpoint} was not reached from here (${problem}); see that it is the store itself: behind etcd's grpc-proxy readers of Cilium begin again for ever`,
    );
  if (good > 1)
    printLine(
      `it has ${good} certificates that are good: once it uses these, "causeway mesh revoke ${peer}" takes the others back`,
    );
}

/** Whether an endpoint is one that a reader of Cilium can use, as that reader sees it. */
async function lookAt(
  endpoint: string,
  { ca, certificate, key }: Omit<StoreOffer, 'serverName'>,
  cluster: string,
): Promise<{ readonly endpoint: string; readonly proxy: boolean; readonly problem?: string }> {
  const reached = { endpoints: [endpoint], tls: { ca, cert: certificate, key } };
  try {
    return { endpoint, proxy: await joinsWatches(reached, statePrefix('nodes', cluster)) };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return { endpoint, proxy: false, problem };
  }
}

/** Takes certificates back that a peer has no need of any more, or that others have got. */
export async function meshRevoke(
  invocation: Invocation,
  [peer = '']: readonly string[],
): Promise<void> {
  await using own = openOwnStore(invocation);
  const { directory } = own;
  const good = directory.clientsOf(peer, now());
  const newest = invocation.options.all === true ? undefined : good.at(-1)?.serial;
  if (good.length === 0) {
    throw new CliError('not-found', `${peer} has no certificate that is good`, {
      field: 'cluster',
      value: peer,
      hint: `it may have left; "causeway mesh token --for ${peer}" invites it`,
    });
  }
  const revoked = await directory.revokeClients(peer, now(), newest);
  if (invocation.json) {
    printJson({ peer, revoked, kept: newest ?? null });
    return;
  }
  printLine(`took back ${revoked.length} of the ${good.length} certificates of ${peer}`);
  if (revoked.length > 0)
    printLine(
      'connections that stand go on until they break; end its proxy, or restart etcd, to cut them now',
    );
}

/** Whoever reads finds a whole file, and nobody else may. */
function writeSecret(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  chmodSync(`${file}.new`, 0o600);
  renameSync(`${file}.new`, file);
}
