import type { Address } from '@causeway/ip';
import type { StoreDirectory } from '@causeway/mesh';
import { storePaths } from '../host/names.ts';
import type { ClusterPlan } from '../plan/types.ts';
import type { LabContext } from './context.ts';

/** Where etcd's clients find it, and who joins finds the operators. */
export const CLIENT_PORT = 2379;
const JOIN_PORT = 9443;

/** By what somebody proves who it is and knows the store; PEM. */
export interface ClientCredentials {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** Paths of the same. */
export interface ClientFiles {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** Certificates, users and rights of a store that peers read: what `causeway mesh expose` makes. */
export class StoreGuard {
  readonly #cluster: ClusterPlan;
  readonly #path: string;
  #directory: Promise<StoreDirectory> | undefined;

  constructor(context: LabContext, cluster: ClusterPlan) {
    this.#cluster = cluster;
    this.#path = storePaths(context.state.name, cluster.name).pki;
  }

  /** Where its certificates are, made when first asked for. */
  directory(): Promise<StoreDirectory> {
    this.#directory ??= this.#settle();
    return this.#directory;
  }

  async #settle(): Promise<StoreDirectory> {
    // Loaded here: most uses of this package need no certificates.
    const { StoreDirectory: Directory } = await import('@causeway/mesh');
    const { etcd, operators, name } = this.#cluster;
    const machines = operators.flatMap(({ addresses }) => addresses);
    const urls = (addresses: readonly Address[], port: number) =>
      addresses.map((each) => `https://${each.includes(':') ? `[${each}]` : each}:${port}`);
    const endpoints = urls(etcd.addresses, CLIENT_PORT);
    const { directory } = await Directory.settle(this.#path, {
      cluster: name,
      names: ['127.0.0.1', '::1', ...etcd.addresses, ...machines],
      exposure: { endpoints, etcd: endpoints, join: urls(machines, JOIN_PORT) },
      now: new Date(),
    });
    return directory;
  }

  /** Where its operators take who joins, as their configuration says it. */
  async joinSettings(): Promise<object> {
    const directory = await this.directory();
    const { server, trust, revoked } = directory.serverFiles();
    const { certFile, keyFile } = directory.userFiles('root');
    return {
      port: JOIN_PORT,
      advertise: directory.exposure?.join ?? [],
      certFile: server.certificate,
      keyFile: server.key,
      caFile: trust,
      revokedFile: revoked,
      root: { certFile, keyFile },
      pki: directory.path,
    };
  }

  async serverArguments(): Promise<readonly string[]> {
    const { etcdTlsArguments } = await import('@causeway/mesh');
    return etcdTlsArguments((await this.directory()).serverFiles());
  }

  async proxyArguments(peer: string, listen: string, dataDir: string): Promise<readonly string[]> {
    const { proxyArguments } = await import('@causeway/mesh');
    const files = await (await this.directory()).proxyFiles(peer, new Date());
    return proxyArguments(files, {
      listen,
      endpoints: [`https://127.0.0.1:${CLIENT_PORT}`],
      dataDir,
    });
  }

  /** Of one who may do everything. */
  async root(): Promise<ClientFiles> {
    return (await this.directory()).userFiles('root');
  }

  /** Of the cluster's own programs. */
  async own(): Promise<ClientFiles> {
    const { ownUser } = await import('@causeway/mesh');
    return (await this.directory()).userFiles(ownUser(this.#cluster.name));
  }

  /** Of a peer's programs. */
  async peer(peer: string): Promise<ClientCredentials> {
    const directory = await this.directory();
    return { ca: directory.trust, ...(await directory.issuePeer(peer, new Date())) };
  }

  /**
   * Users and their rights, written by way of a socket at which everything is allowed; from then on nobody else
   * gets in. Peers named are let in beforehand; others join.
   */
  async setUp(socket: string, peers: readonly string[]): Promise<void> {
    const [{ admitPeer, setUpAuth }, { connectAuth }] = await Promise.all([
      import('@causeway/mesh'),
      import('@causeway/etcd'),
    ]);
    await using auth = connectAuth({ endpoints: [`unix:${socket}`] });
    await setUpAuth(auth, this.#cluster.name);
    for (const peer of peers) await admitPeer(auth, this.#cluster.name, peer);
  }
}
