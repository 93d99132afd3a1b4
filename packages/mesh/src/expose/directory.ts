import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FileLock } from '@causeway/linux';
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
import { type Exposure, type Ledger, ledgerSchema, withoutExpired } from './ledger.ts';

const AUTHORITY_DAYS = 3650;
/** What browsers and most sites hold for the longest that a certificate should live. */
const LEAF_DAYS = 397;
/** Certificates are made anew when less than this part of their time is left. */
const RENEW_PART = 1 / 3;
const DAY_MS = 86_400_000;
const LOCK_MS = 30_000;
const LOCK_LOOK_MS = 20;

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
  readonly path: string;
  #ledger: Ledger;

  private constructor(directory: string, ledger: Ledger) {
    this.path = directory;
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
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    using _alone = await lockDirectory(directory);
    const old = StoreDirectory.#read(directory);
    if (old !== undefined && old.cluster !== cluster) {
      throw new MeshError(
        'foreign-store',
        `${directory} holds the certificates of cluster ${old.cluster}, not of ${cluster}`,
        cluster,
      );
    }
    const made = new StoreDirectory(directory, {
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
    const ledger = StoreDirectory.#read(directory);
    if (ledger !== undefined) return new StoreDirectory(directory, ledger);
    throw new MeshError(
      'not-exposed',
      `${directory} holds no certificates of a store: run "causeway mesh expose" first`,
      directory,
    );
  }

  static #read(directory: string): Ledger | undefined {
    const file = path.join(directory, 'ledger.json');
    const text = readIfThere(file);
    if (text === undefined) return undefined;
    try {
      return ledgerSchema.parse(JSON.parse(text));
    } catch (cause) {
      throw new MeshError('bad-value', `${file} is not a ledger: ${String(cause)}`, file);
    }
  }

  /** Nobody else changes the directory meanwhile, and what others have changed before is known. */
  async #alone(): Promise<Disposable> {
    const lock = await lockDirectory(this.path);
    try {
      this.#ledger = StoreDirectory.#read(this.path) ?? this.#ledger;
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
    return lock;
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
    return this.#text('trust.crt');
  }

  file(...parts: readonly string[]): string {
    return path.join(this.path, ...parts);
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
    await this.#peerAuthority(peer, now);
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

  /** Takes back all that was issued for a user. New connections with it are refused at once. */
  async revoke(user: string, now: Date): Promise<readonly string[]> {
    using _alone = await this.#alone();
    return this.#revoke(user, now);
  }

  async #revoke(user: string, now: Date): Promise<readonly string[]> {
    const gone = this.#ledger.issued.filter((each) => each.user === user && !each.revoked);
    for (const each of gone) each.revoked = now.toISOString();
    await this.#writeRevoked(await this.#authority(), now);
    this.#save();
    return gone.map(({ serial }) => serial);
  }

  /** Takes back all of a peer's, its proxy's too, and forgets its authority. */
  async removePeer(peer: string, now: Date): Promise<void> {
    using _alone = await this.#alone();
    await this.#revoke(peerUser(peer), now);
    rmSync(this.file('peers', peerName(peer)), { recursive: true, force: true });
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
    this.#write('trust.crt', authority.certificate + old.certificate);
    this.#write('cross.crt', cross);
    this.#writeKey('ca', credentials);
    const written = await this.#issueOwn(authority, now, true);
    await this.#writeRevoked(authority, now);
    this.#save();
    return { written: ['ca.crt', 'trust.crt', 'cross.crt', ...written] };
  }

  /** Ends the time of the old authority. Throws MeshError `in-use` while certificates under it are good. */
  async retire(now: Date, options: { readonly force: boolean }): Promise<SettleReport> {
    using _alone = await this.#alone();
    const authority = await this.#authority();
    const current = authority.info.fingerprint;
    const good = withoutExpired(this.#ledger, now).issued.filter((each) => !each.revoked);
    const renewed = new Set(
      good.filter((each) => each.authority === current).map((each) => each.user),
    );
    const held = new Set(good.map((each) => each.user).filter((user) => !renewed.has(user)));
    if (held.size > 0 && !options.force) {
      const users = [...held].sort().join(', ');
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
    this.#write('trust.crt', authority.certificate);
    rmSync(this.file('cross.crt'), { force: true });
    for (const peer of readdirSync(this.file('peers'))) {
      const [own = ''] = splitCertificates(this.#text(`peers/${peer}/ca.crt`));
      this.#write(`peers/${peer}/clients.crt`, own);
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
    mkdirSync(this.file('users'), { recursive: true, mode: 0o700 });
    mkdirSync(this.file('peers'), { recursive: true, mode: 0o700 });
    const written: string[] = [];
    let authority: Authority;
    if (site !== undefined) {
      authority = await openSite(site);
      if (this.#readText('ca.crt') !== site.certificate) {
        this.#writeKey('ca', site);
        this.#write('trust.crt', site.certificate);
        written.push('ca.crt', 'trust.crt');
      }
    } else if (this.#readText('ca.crt') === undefined) {
      const made = await Authority.create(authorityName(this.cluster, now), {
        now,
        days: AUTHORITY_DAYS,
      });
      authority = made.authority;
      this.#writeKey('ca', made.credentials);
      this.#write('trust.crt', made.credentials.certificate);
      written.push('ca.crt', 'trust.crt');
    } else authority = await this.#authority();
    const server = this.#readText('server.crt');
    const same =
      server !== undefined &&
      sameNames(inspectCertificate(server).names, names) &&
      written.length === 0;
    written.push(...(await this.#issueOwn(authority, now, !same)));
    if (this.#readText('revoked.pem') === undefined || written.includes('ca.crt')) {
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
    if (all || !this.#isFresh('server', now)) {
      const { certificate, key } = await authority.issueServer(this.names, validity);
      const cross = this.#readText('cross.crt') ?? '';
      this.#writeKey('server', { certificate: certificate + cross, key });
      written.push('server.crt');
    }
    for (const user of [ROOT_USER, ownUser(this.cluster), localUser(this.cluster)]) {
      const name = `users/${user}`;
      if (!all && this.#isFresh(name, now)) continue;
      const credentials = await authority.issueClient(user, validity);
      this.#record(credentials, user);
      this.#writeKey(name, credentials);
      written.push(`${name}.crt`);
    }
    return written;
  }

  async #peerAuthority(peer: string, now: Date): Promise<Authority> {
    const name = `peers/${peerName(peer)}/ca`;
    const root = await this.#authority();
    if (this.#isFresh(name, now) && this.#isUnder(name, root)) {
      const authority = await Authority.open(this.#credentials(name));
      if (!this.#isFresh(`peers/${peer}/proxy`, now)) await this.#issueProxy(peer, authority, now);
      return authority;
    }
    const { authority, credentials } = await root.issueAuthority(`causeway mesh ${peer}`, {
      now,
      days: AUTHORITY_DAYS,
    });
    mkdirSync(this.file('peers', peer), { recursive: true, mode: 0o700 });
    // Until the old root is retired, what it signed through the peer's former authority is good.
    const former = this.#readText(`${name}.crt`) ?? '';
    this.#writeKey(name, credentials);
    const [own = ''] = splitCertificates(credentials.certificate);
    const [old = ''] = splitCertificates(former);
    this.#write(`peers/${peer}/clients.crt`, own + old);
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
    this.#record({ certificate, key }, peerUser(peer));
    const nameless = await authority.issueServer(['proxy.invalid'], validity);
    const [first = ''] = splitCertificates(nameless.certificate);
    const lead = first.replaceAll(' CERTIFICATE', ' X509 CERTIFICATE');
    this.#writeKey(`peers/${peer}/proxy`, { certificate: lead + certificate, key });
  }

  #isUnder(name: string, root: Authority): boolean {
    try {
      checkCredentials({
        ...this.#credentials(name),
        authority: root.certificate,
        now: root.info.notBefore,
      });
    } catch (error) {
      return (error as { code?: unknown }).code === 'expired';
    }
    return true;
  }

  #isFresh(name: string, now: Date): boolean {
    const text = this.#readText(`${name}.crt`);
    if (text === undefined || this.#readText(`${name}.key`) === undefined) return false;
    const { notBefore, notAfter } = inspectCertificate(text);
    const whole = notAfter.getTime() - notBefore.getTime();
    return notAfter.getTime() - now.getTime() > whole * RENEW_PART;
  }

  async #writeRevoked(authority: Authority, now: Date): Promise<void> {
    const revoked = this.#ledger.issued.flatMap(({ serial, revoked: at }) =>
      at === undefined ? [] : [{ serial, at: new Date(at) }],
    );
    this.#write(
      'revoked.pem',
      await authority.revocationList(revoked, { now, days: AUTHORITY_DAYS }),
    );
  }

  #authority(): Promise<Authority> {
    return Authority.open(this.#credentials('ca'));
  }

  #record({ certificate }: Credentials, user: string): void {
    const { serial, notAfter } = inspectCertificate(certificate);
    const root = inspectCertificate(this.#text('ca.crt'));
    this.#ledger.issued.push({
      serial,
      user,
      authority: root.fingerprint,
      notAfter: notAfter.toISOString(),
    });
    this.#save();
  }

  #credentials(name: string): Credentials {
    return { certificate: this.#text(`${name}.crt`), key: this.#text(`${name}.key`) };
  }

  #text(name: string): string {
    const text = this.#readText(name);
    if (text !== undefined) return text;
    throw new MeshError(
      'not-exposed',
      `${this.file(name)} is missing: run "causeway mesh expose"`,
      name,
    );
  }

  #readText(name: string): string | undefined {
    return readIfThere(this.file(name));
  }

  #writeKey(name: string, { certificate, key }: Credentials): void {
    this.#write(`${name}.key`, key);
    this.#write(`${name}.crt`, certificate);
  }

  #save(): void {
    this.#write('ledger.json', `${JSON.stringify(this.#ledger, undefined, 2)}\n`);
  }

  /** In one step: whoever reads finds the old text or the new. */
  #write(name: string, text: string): void {
    const file = this.file(name);
    const mode = /\.(key|json)$/.test(name) ? 0o600 : 0o644;
    writeFileSync(`${file}.new`, text, { mode });
    renameSync(`${file}.new`, file);
  }
}

/** Programs change a directory for as long as signing takes, so that whoever comes meanwhile waits. Throws MeshError `in-use`. */
async function lockDirectory(directory: string): Promise<Disposable> {
  const file = path.join(directory, 'lock');
  for (let waited = 0; waited < LOCK_MS; waited += LOCK_LOOK_MS) {
    const lock = FileLock.tryAcquire(file);
    if (lock !== undefined) return lock;
    await sleep(LOCK_LOOK_MS);
  }
  throw new MeshError(
    'in-use',
    `another program changes ${directory}: process ${FileLock.holder(file) ?? 'unknown'}`,
    directory,
  );
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

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
