import { readdirSync } from 'node:fs';
import {
  Authority,
  type Credentials,
  checkCredentials,
  inspectCertificate,
  splitCertificates,
} from '@causeway/pki';
import { MeshError } from '../errors.ts';
import { localUser, ownUser, peerUser, ROOT_USER } from '../join/roles.ts';
import { isClusterName } from '../keys.ts';
import type { ProxyFiles, ServerFiles } from './command-lines.ts';
import { CertificateFiles } from './files.ts';
import { type Exposure, type Issued, type Ledger, readLedger, withoutExpired } from './ledger.ts';

const AUTHORITY_DAYS = 3650;
/** What browsers and most sites hold for the longest that a certificate should live. */
const LEAF_DAYS = 397;
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
  #ledger: Ledger;

  private constructor(files: CertificateFiles, ledger: Ledger) {
    this.#files = files;
    this.#ledger = ledger;
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
      this.#ledger = readLedger(this.#files) ?? this.#ledger;
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
    return this.#ledger.cluster;
  }

  /** The names in the server's certificate. */
  get names(): readonly string[] {
    return this.#ledger.names;
  }

  get exposure(): Exposure | undefined {
    return this.#ledger.exposure;
  }

  get issued(): Ledger['issued'] {
    return this.#ledger.issued;
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
    const authority = await this.#peerAuthority(peer, now);
    if (!this.#isProxyFresh(`peers/${peer}/proxy`, now))
      await this.#issueProxy(peer, authority, now);
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
    const authority = await this.#peerAuthority(peer, now);
    const credentials = await authority.issueClient(peerUser(peer), { now, days: LEAF_DAYS });
    this.#record(credentials, peerUser(peer));
    return credentials;
  }

  /** Certificates of a peer's own programs that are good, the last one given last. Its proxy's is not among them. */
  clientsOf(peer: string, now: Date): Ledger['issued'] {
    return withoutExpired(this.#ledger, now).issued.filter(
      (each) => isClient(each, peer) && !each.revoked,
    );
  }

  /**
   * Takes back what a peer's own programs hold, but for the certificate of one serial. New connections with the others
   * are refused at once. Returns their serials.
   */
  async revokeClients(peer: string, now: Date, keep?: string): Promise<readonly string[]> {
    using _alone = await this.#alone();
    return this.#revoke((each) => isClient(each, peer) && each.serial !== keep, now);
  }

  /** Takes back one certificate that was issued and never given. */
  async takeBack(certificate: string, now: Date): Promise<void> {
    using _alone = await this.#alone();
    const { serial } = inspectCertificate(certificate);
    await this.#revoke((each) => each.serial === serial, now);
  }

  async #revoke(which: (each: Issued) => boolean, now: Date): Promise<readonly string[]> {
    const gone = this.#ledger.issued.filter((each) => !each.revoked && which(each));
    if (gone.length === 0) return [];
    for (const each of gone) each.revoked = now.toISOString();
    await this.#writeRevoked(await this.#authority(), now);
    this.#save();
    return gone.map(({ serial }) => serial);
  }

  /** Takes back all of a peer's, its proxy's too, and forgets its authority. */
  async removePeer(peer: string, now: Date): Promise<void> {
    using _alone = await this.#alone();
    await this.#revoke(({ user }) => user === peerUser(peer), now);
    this.#files.remove(`peers/${peerName(peer)}`);
  }

  /**
   * Replaces our own authority. Old and new count until `retire`: servers show the new one signed by the old, so
   * that peers which know only the old one stay connected. etcd and proxies must be restarted to know the new one.
   */
  async rotate(now: Date): Promise<SettleReport> {
    using _alone = await this.#alone();
    if (this.#ledger.authority === 'site') {
      throw new MeshError(
        'bad-value',
        "the site's authority is replaced by naming its new files",
        'site',
      );
    }
    const old = await this.#authority();
    const { authority, credentials } = await Authority.create(authorityName(this.cluster, now), {
      now,
      days: AUTHORITY_DAYS,
    });
    const cross = await old.crossSign(authority, { now, days: AUTHORITY_DAYS });
    this.#files.write('trust.crt', authority.certificate + old.certificate);
    this.#files.write('cross.crt', cross);
    this.#files.writeCredentials('ca', credentials);
    const written = await this.#issueOwn(authority, now, true);
    await this.#writeRevoked(authority, now);
    this.#save();
    return { written: ['ca.crt', 'trust.crt', 'cross.crt', ...written] };
  }

  /** Users whose good certificates are all under an authority that is being replaced. */
  behind(now: Date): readonly string[] {
    const current = inspectCertificate(this.#files.text('ca.crt')).fingerprint;
    const good = withoutExpired(this.#ledger, now).issued.filter((each) => !each.revoked);
    const renewed = new Set(
      good.filter((each) => each.authority === current).map((each) => each.user),
    );
    return [...new Set(good.map(({ user }) => user))].filter((user) => !renewed.has(user)).sort();
  }

  /** Ends the time of the old authority. Throws MeshError `in-use` while certificates under it are good. */
  async retire(now: Date, options: { readonly force: boolean }): Promise<SettleReport> {
    using _alone = await this.#alone();
    const authority = await this.#authority();
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
    this.#ledger = {
      ...this.#ledger,
      issued: this.#ledger.issued.filter((each) => each.authority === current),
    };
    this.#files.write('trust.crt', authority.certificate);
    this.#files.remove('cross.crt');
    for (const peer of readdirSync(this.file('peers'))) {
      const [own = ''] = splitCertificates(this.#files.text(`peers/${peer}/ca.crt`));
      this.#files.write(`peers/${peer}/clients.crt`, own);
    }
    const written = await this.#issueOwn(authority, now, true);
    this.#save();
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
    } else authority = await this.#authority();
    const server = this.#files.read('server.crt');
    const same =
      server !== undefined &&
      sameNames(inspectCertificate(server).names, names) &&
      written.length === 0;
    written.push(...(await this.#issueOwn(authority, now, !same)));
    written.push(...(await this.#renewProxies(now)));
    if (this.#files.read('revoked.pem') === undefined || written.includes('ca.crt')) {
      await this.#writeRevoked(authority, now);
      written.push('revoked.pem');
    }
    this.#save();
    return written;
  }

  /** The server's and our own users' certificates: all, or those that are missing or near their end. */
  async #issueOwn(authority: Authority, now: Date, all: boolean): Promise<string[]> {
    const validity = { now, days: LEAF_DAYS };
    const written: string[] = [];
    if (all || !this.#files.isFresh('server', now)) {
      const { certificate, key } = await authority.issueServer(this.names, validity);
      const cross = this.#files.read('cross.crt') ?? '';
      this.#files.writeCredentials('server', { certificate: certificate + cross, key });
      written.push('server.crt');
    }
    for (const user of [ROOT_USER, ownUser(this.cluster), localUser(this.cluster)]) {
      const name = `users/${user}`;
      if (!all && this.#files.isFresh(name, now)) continue;
      const credentials = await authority.issueClient(user, validity);
      this.#record(credentials, user);
      this.#files.writeCredentials(name, credentials);
      written.push(`${name}.crt`);
    }
    return written;
  }

  async #peerAuthority(peer: string, now: Date): Promise<Authority> {
    const name = `peers/${peerName(peer)}/ca`;
    const root = await this.#authority();
    if (this.#files.isFresh(name, now) && this.#isUnder(name, root)) {
      return Authority.open(this.#files.credentials(name));
    }
    const { authority, credentials } = await root.issueAuthority(`causeway mesh ${peer}`, {
      now,
      days: AUTHORITY_DAYS,
    });
    this.#files.makeDirectory('peers', peer);
    // Until the old root is retired, what it signed through the peer's former authority is good.
    const former = this.#files.read(`${name}.crt`) ?? '';
    this.#files.writeCredentials(name, credentials);
    const [own = ''] = splitCertificates(credentials.certificate);
    const [old = ''] = splitCertificates(former);
    this.#files.write(`peers/${peer}/clients.crt`, own + old);
    // One that was issued under the former authority ends with it.
    if (this.#files.read(`peers/${peer}/proxy.crt`) !== undefined)
      await this.#issueProxy(peer, authority, now);
    this.#save();
    return authority;
  }

  /**
   * etcd's proxy refuses a client certificate with a common name, so that nobody gives all of a proxy's clients one
   * user by accident. Here this is meant, and safe as the proxy takes one peer's clients only. The check reads the
   * file's first block whatever its label, the TLS library the first that is labelled CERTIFICATE: a nameless one
   * under the label of old stands first.
   */
  async #issueProxy(peer: string, authority: Authority, now: Date): Promise<void> {
    const validity = { now, days: LEAF_DAYS };
    const { certificate, key } = await authority.issueClient(peerUser(peer), validity);
    this.#record({ certificate, key }, peerUser(peer), 'proxy');
    const nameless = await authority.issueServer(['proxy.invalid'], validity);
    const [first = ''] = splitCertificates(nameless.certificate);
    const lead = first.replaceAll(' CERTIFICATE', ' X509 CERTIFICATE');
    this.#files.writeCredentials(`peers/${peer}/proxy`, { certificate: lead + certificate, key });
  }

  async #renewProxies(now: Date): Promise<readonly string[]> {
    const written: string[] = [];
    for (const peer of readdirSync(this.file('peers'))) {
      const name = `peers/${peer}/proxy`;
      if (this.#files.read(`${name}.crt`) === undefined || this.#isProxyFresh(name, now)) continue;
      const authority = await Authority.open(this.#files.credentials(`peers/${peer}/ca`));
      await this.#issueProxy(peer, authority, now);
      written.push(`${name}.crt`);
    }
    return written;
  }

  #isProxyFresh(name: string, now: Date): boolean {
    if (!this.#files.isFresh(name, now)) return false;
    const { serial } = inspectCertificate(this.#files.text(`${name}.crt`));
    return !this.#ledger.issued.some((each) => each.serial === serial && each.revoked);
  }

  #isUnder(name: string, root: Authority): boolean {
    try {
      checkCredentials({
        ...this.#files.credentials(name),
        authority: root.certificate,
        now: root.info.notBefore,
      });
    } catch (error) {
      return (error as { code?: unknown }).code === 'expired';
    }
    return true;
  }

  async #writeRevoked(authority: Authority, now: Date): Promise<void> {
    const revoked = this.#ledger.issued.flatMap(({ serial, revoked: at }) =>
      at === undefined ? [] : [{ serial, at: new Date(at) }],
    );
    this.#files.write(
      'revoked.pem',
      await authority.revocationList(revoked, { now, days: AUTHORITY_DAYS }),
    );
  }

  #authority(): Promise<Authority> {
    return Authority.open(this.#files.credentials('ca'));
  }

  #record({ certificate }: Credentials, user: string, of?: 'proxy'): void {
    const { serial, notAfter } = inspectCertificate(certificate);
    const root = inspectCertificate(this.#files.text('ca.crt'));
    this.#ledger.issued.push({
      serial,
      user,
      authority: root.fingerprint,
      notAfter: notAfter.toISOString(),
      ...(of === undefined ? {} : { of }),
    });
    this.#save();
  }

  #save(): void {
    this.#files.write('ledger.json', `${JSON.stringify(this.#ledger, undefined, 2)}\n`);
  }
}

/** The site's authority, if it will do. Throws MeshError `bad-value`, PkiError. */
async function openSite(site: Credentials): Promise<Authority> {
  const authority = await Authority.open(site);
  const { subject } = authority.info;
  const last = splitCertificates(site.certificate).at(-1) ?? '';
  if (!inspectCertificate(last).selfSigned) {
    throw new MeshError(
      'bad-value',
      `the certificates of ${subject} must go up to the root, each behind the one that it signed`,
      subject,
      'ca-cert',
    );
  }
  if (authority.maySignAuthorities) return authority;
  throw new MeshError(
    'bad-value',
    `${subject} may sign no authorities (its path length is 0), and each peer needs one`,
    subject,
    'ca-cert',
  );
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

function peerName(peer: string): string {
  if (isClusterName(peer) && peer !== 'default') return peer;
  const rule = '1 to 32 of a-z, 0-9 and inner "-", and not "default"';
  throw new MeshError('bad-key', `cluster name ${JSON.stringify(peer)} must be ${rule}`, peer);
}
