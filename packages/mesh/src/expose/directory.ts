import { Authority, type Credentials, inspectCertificate } from '@causeway/pki';
import { MeshError } from '../errors.ts';
import { peerUser } from '../join/roles.ts';
import { isClusterName } from '../keys.ts';
import type { ProxyFiles, ServerFiles } from './command-lines.ts';
import { CertificateFiles } from './files.ts';
import { AUTHORITY_DAYS, Issuer, LEAF_DAYS } from './issuer.ts';
import { type Exposure, type Issued, type Ledger, readLedger, withoutExpired } from './ledger.ts';
import { PeerAuthorities } from './peer-authorities.ts';
import { openSite } from './site-authority.ts';

const DAY_MS = 86_400_000;

export interface CreateOptions {
  readonly cluster: string;
  /** DNS names and addresses by which the store, its proxies and the join endpoint are reached. */
  readonly names: readonly string[];
  /** How the store is reached; what was said before if absent. */
  readonly exposure?: Exposure;
  /** The site's authority in place of one of our own. */
  readonly authority?: Credentials;
  readonly now: Date;
}

/** What was made or made anew, by file. */
export interface SettleReport {
  readonly written: readonly string[];
}

/**
 * The certificates of one cluster's store as files: its authority, what it trusts, the server's, those of its own
 * users, and for each peer an authority that signs only this peer's clients. The private keys of peers' clients do
 * not stay here: they leave in a token.
 *
 * | file | what |
 * | --- | --- |
 * | `ca.crt`, `ca.key` | the authority that signs |
 * | `trust.crt` | all authorities that count: during a change of authority two |
 * | `server.crt`, `server.key` | etcd's, the proxies' and the join endpoint's |
 * | `revoked.pem` | what was taken back |
 * | `users/<user>.crt`, `.key` | `root`, `causeway-<cluster>`, `local-<cluster>` |
 * | `peers/<peer>/ca.crt`, `ca.key` | the authority of that peer's clients |
 * | `peers/<peer>/clients.crt` | those that its proxy takes: during a change of authority two |
 * | `peers/<peer>/proxy.crt`, `proxy.key` | the proxy's own, which carries the peer's user |
 * | `ledger.json` | what was issued, and taken back |
 */
export class StoreDirectory {
  readonly #files: CertificateFiles;
  readonly #issuer: Issuer;
  readonly #peers: PeerAuthorities;

  private constructor(files: CertificateFiles, ledger: Ledger) {
    this.#files = files;
    this.#issuer = new Issuer(files, ledger);
    this.#peers = new PeerAuthorities(files, this.#issuer);
  }

  /** Opens the directory, or makes it; what is missing or nears its end is made. Throws MeshError `bad-key`, `foreign-store`, PkiError. */
  static async settle(
    directory: string,
    options: CreateOptions,
  ): Promise<{ directory: StoreDirectory; report: SettleReport }> {
    const { cluster, names, authority, exposure, now } = options;
    if (!isClusterName(cluster) || cluster === 'default') {
      const rule = '1 to 32 of a-z, 0-9 and inner "-", and not "default"';
      throw new MeshError(
        'bad-key',
        `cluster name ${JSON.stringify(cluster)} must be ${rule}`,
        cluster,
      );
    }
    const files = new CertificateFiles(directory);
    files.makeDirectory();
    using _alone = await files.lock();
    const old = readLedger(files);
    if (old !== undefined && old.cluster !== cluster) {
      throw new MeshError(
        'foreign-store',
        `${directory} holds the certificates of cluster ${old.cluster}, not of ${cluster}`,
        cluster,
      );
    }
    const made = new StoreDirectory(files, {
      version: 1,
      cluster,
      names: [...names],
      authority: authority !== undefined ? 'site' : (old?.authority ?? 'own'),
      ...defined(exposure ?? old?.exposure),
      issued: old === undefined ? [] : withoutExpired(old, now).issued,
    });
    const written = await made.#settle(authority, names, now);
    return { directory: made, report: { written } };
  }

  /** Throws MeshError `not-exposed`, `bad-value`. */
  static open(directory: string): StoreDirectory {
    const files = new CertificateFiles(directory);
    const ledger = readLedger(files);
    if (ledger !== undefined) return new StoreDirectory(files, ledger);
    throw new MeshError(
      'not-exposed',
      `${directory} holds no certificates of a store: run "causeway mesh expose" first`,
      directory,
    );
  }

  /** Nobody else changes the directory meanwhile, and what others have changed before is known. */
  async #alone(): Promise<Disposable> {
    const lock = await this.#files.lock();
    try {
      this.#issuer.ledger = readLedger(this.#files) ?? this.#issuer.ledger;
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
    return lock;
  }

  get path(): string {
    return this.#files.path;
  }

  get cluster(): string {
    return this.#issuer.ledger.cluster;
  }

  /** The names in the server's certificate. */
  get names(): readonly string[] {
    return this.#issuer.ledger.names;
  }

  get exposure(): Exposure | undefined {
    return this.#issuer.ledger.exposure;
  }

  get issued(): Ledger['issued'] {
    return this.#issuer.ledger.issued;
  }

  /** The authorities that peers have to know, PEM. */
  get trust(): string {
    return this.#files.text('trust.crt');
  }

  file(...parts: readonly string[]): string {
    return this.#files.file(...parts);
  }

  serverFiles(): ServerFiles {
    return {
      server: { certificate: this.file('server.crt'), key: this.file('server.key') },
      trust: this.file('trust.crt'),
      revoked: this.file('revoked.pem'),
    };
  }

  /** Files by which one of our own users is shown to the store. */
  userFiles(user: string): { caFile: string; certFile: string; keyFile: string } {
    return {
      caFile: this.file('trust.crt'),
      certFile: this.file('users', `${user}.crt`),
      keyFile: this.file('users', `${user}.key`),
    };
  }

  /** The peer's proxy; its files are made if they are not there. */
  async proxyFiles(peer: string, now: Date): Promise<ProxyFiles> {
    using _alone = await this.#alone();
    const authority = await this.#peers.of(peer, now);
    await this.#peers.settleProxy(peer, authority, now);
    const { server, trust, revoked } = this.serverFiles();
    const in_ = (name: string) => this.file('peers', peer, name);
    return {
      server,
      trust,
      revoked,
      clients: in_('clients.crt'),
      own: { certificate: in_('proxy.crt'), key: in_('proxy.key') },
    };
  }

  /** A client certificate for all nodes of the peer. Its key is nowhere but in the answer. */
  async issuePeer(peer: string, now: Date): Promise<Credentials> {
    using _alone = await this.#alone();
    const authority = await this.#peers.of(peer, now);
    const credentials = await authority.issueClient(peerUser(peer), { now, days: LEAF_DAYS });
    this.#issuer.record(credentials, peerUser(peer));
    return credentials;
  }

  /** Certificates of a peer's own programs that are good, the last one given last. Its proxy's is not among them. */
  clientsOf(peer: string, now: Date): Ledger['issued'] {
    return withoutExpired(this.#issuer.ledger, now).issued.filter(
      (each) => isClient(each, peer) && !each.revoked,
    );
  }

  /**
   * Takes back what a peer's own programs hold, but for the certificate of one serial. New connections with the others
   * are refused at once. Returns their serials.
   */
  async revokeClients(peer: string, now: Date, keep?: string): Promise<readonly string[]> {
    using _alone = await this.#alone();
    return this.#issuer.revoke((each) => isClient(each, peer) && each.serial !== keep, now);
  }

  /** Takes back one certificate that was issued and never given. */
  async takeBack(certificate: string, now: Date): Promise<void> {
    using _alone = await this.#alone();
    const { serial } = inspectCertificate(certificate);
    await this.#issuer.revoke((each) => each.serial === serial, now);
  }

  /** Takes back all of a peer's, its proxy's too, and forgets its authority. */
  async removePeer(peer: string, now: Date): Promise<void> {
    using _alone = await this.#alone();
    await this.#issuer.revoke(({ user }) => user === peerUser(peer), now);
    this.#peers.forget(peer);
  }

  /**
   * Replaces our own authority. Old and new count until `retire`: servers show the new one signed by the old, so
   * that peers which know only the old one stay connected. etcd and proxies must be restarted to know the new one.
   */
  async rotate(now: Date): Promise<SettleReport> {
    using _alone = await this.#alone();
    if (this.#issuer.ledger.authority === 'site') {
      throw new MeshError(
        'bad-value',
        "the site's authority is replaced by naming its new files",
        'site',
      );
    }
    const old = await this.#issuer.authority();
    const { authority, credentials } = await Authority.create(authorityName(this.cluster, now), {
      now,
      days: AUTHORITY_DAYS,
    });
    const cross = await old.crossSign(authority, { now, days: AUTHORITY_DAYS });
    this.#files.write('trust.crt', authority.certificate + old.certificate);
    this.#files.write('cross.crt', cross);
    this.#files.writeCredentials('ca', credentials);
    const written = await this.#issuer.issueOwn(authority, now, true);
    await this.#issuer.writeRevoked(authority, now);
    this.#issuer.save();
    return { written: ['ca.crt', 'trust.crt', 'cross.crt', ...written] };
  }

  /** Users whose good certificates are all under an authority that is being replaced. */
  behind(now: Date): readonly string[] {
    const current = inspectCertificate(this.#files.text('ca.crt')).fingerprint;
    const good = withoutExpired(this.#issuer.ledger, now).issued.filter((each) => !each.revoked);
    const renewed = new Set(
      good.filter((each) => each.authority === current).map((each) => each.user),
    );
    return [...new Set(good.map(({ user }) => user))].filter((user) => !renewed.has(user)).sort();
  }

  /** Ends the time of the old authority. Throws MeshError `in-use` while certificates under it are good. */
  async retire(now: Date, options: { readonly force: boolean }): Promise<SettleReport> {
    using _alone = await this.#alone();
    const authority = await this.#issuer.authority();
    const current = authority.info.fingerprint;
    const held = this.behind(now);
    if (held.length > 0 && !options.force) {
      const users = held.join(', ');
      throw new MeshError(
        'in-use',
        `certificates under the old authority are still good: ${users}; give these new tokens first, or force it`,
        users,
      );
    }
    this.#issuer.ledger = {
      ...this.#issuer.ledger,
      issued: this.#issuer.ledger.issued.filter((each) => each.authority === current),
    };
    this.#files.write('trust.crt', authority.certificate);
    this.#files.remove('cross.crt');
    this.#peers.endFormer();
    const written = await this.#issuer.issueOwn(authority, now, true);
    this.#issuer.save();
    return { written: ['trust.crt', ...written] };
  }

  async #settle(
    site: Credentials | undefined,
    names: readonly string[],
    now: Date,
  ): Promise<readonly string[]> {
    this.#files.makeDirectory('users');
    this.#files.makeDirectory('peers');
    const written: string[] = [];
    let authority: Authority;
    if (site !== undefined) {
      authority = await openSite(site);
      if (this.#files.read('ca.crt') !== site.certificate) {
        this.#files.writeCredentials('ca', site);
        this.#files.write('trust.crt', site.certificate);
        written.push('ca.crt', 'trust.crt');
      }
    } else if (this.#files.read('ca.crt') === undefined) {
      const made = await Authority.create(authorityName(this.cluster, now), {
        now,
        days: AUTHORITY_DAYS,
      });
      authority = made.authority;
      this.#files.writeCredentials('ca', made.credentials);
      this.#files.write('trust.crt', made.credentials.certificate);
      written.push('ca.crt', 'trust.crt');
    } else authority = await this.#issuer.authority();
    const server = this.#files.read('server.crt');
    const same =
      server !== undefined &&
      sameNames(inspectCertificate(server).names, names) &&
      written.length === 0;
    written.push(...(await this.#issuer.issueOwn(authority, now, !same)));
    written.push(...(await this.#peers.renewProxies(now)));
    if (this.#files.read('revoked.pem') === undefined || written.includes('ca.crt')) {
      await this.#issuer.writeRevoked(authority, now);
      written.push('revoked.pem');
    }
    this.#issuer.save();
    return written;
  }
}

export const daysLeft = (notAfter: Date, now: Date): number =>
  Math.floor((notAfter.getTime() - now.getTime()) / DAY_MS);

const isClient = ({ user, of }: Issued, peer: string): boolean =>
  user === peerUser(peer) && of === undefined;

const defined = (exposure: Exposure | undefined) => (exposure === undefined ? {} : { exposure });

const authorityName = (cluster: string, now: Date): string =>
  `causeway ${cluster} ${now.toISOString().slice(0, 10)}`;

const sameNames = (a: readonly string[], b: readonly string[]): boolean =>
  [...a].sort().join(' ').toLowerCase() === [...b].sort().join(' ').toLowerCase();
