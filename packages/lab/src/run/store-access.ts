import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeAtomically } from '../host/files.ts';
import { nodePaths } from '../host/names.ts';
import type { LabEtcd } from './etcd.ts';
import type { ClientCredentials, ClientFiles } from './store-guard.ts';

/** A machine's run directory as its own programs see it. */
const RUN = '/run/causeway';
/** Where a machine's programs look for one file for each peer, in Cilium's form. */
export const PEERS_DIRECTORY = `${RUN}/clustermesh`;

/** What a program's configuration says of its store. */
export interface StoreSettings {
  readonly endpoints: readonly string[];
  readonly tls?: ClientFiles;
}

/** Gives a machine what it takes to reach its own cluster's store; the section of its programs' configuration. */
export async function giveStore(
  lab: string,
  place: string,
  { endpoints, guard }: LabEtcd,
): Promise<StoreSettings> {
  if (guard === undefined) return { endpoints };
  const { caFile, certFile, keyFile } = await guard.own();
  const [ca, certificate, key] = [caFile, certFile, keyFile].map((file) =>
    readFileSync(file, 'utf8'),
  ) as [string, string, string];
  return { endpoints, tls: give(lab, place, 'pki', { ca, certificate, key }) };
}

/** Gives a machine a file for a peer, and the certificates that it names. `reader` is the machine's own cluster. */
export async function givePeer(
  lab: string,
  place: string,
  peer: { readonly name: string; readonly endpoints: readonly string[] },
  credentials: ClientCredentials,
): Promise<void> {
  // Loaded here: most uses of this package need no certificates.
  const { ciliumFiles } = await import('@causeway/mesh');
  const directory = join(nodePaths(lab, place).run, 'clustermesh');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const offer = { endpoints: [...peer.endpoints], ...credentials };
  // The first is the one that names the others: it is told of when they are there.
  for (const [name, text] of [...ciliumFiles(peer.name, offer, PEERS_DIRECTORY)].reverse())
    writeAtomically(join(directory, name), text);
}

/** Writes the files onto the machine; their paths there. */
function give(
  lab: string,
  place: string,
  folder: string,
  { ca, certificate, key }: ClientCredentials,
): ClientFiles {
  const directory = join(nodePaths(lab, place).run, folder);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const write = (name: string, text: string): string => {
    writeAtomically(join(directory, name), text);
    return `${RUN}/${folder}/${name}`;
  };
  return {
    caFile: write('ca.crt', ca),
    certFile: write('tls.crt', certificate),
    keyFile: write('tls.key', key),
  };
}
