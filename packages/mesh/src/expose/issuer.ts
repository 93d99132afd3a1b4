import { Authority, type Credentials, inspectCertificate } from '@causeway/pki';
import { localUser, ownUser, ROOT_USER } from '../join/roles.ts';
import type { CertificateFiles } from './files.ts';
import type { Issued, Ledger } from './ledger.ts';

export const AUTHORITY_DAYS = 3650;
/** What browsers and most sites hold for the longest that a certificate should live. */
export const LEAF_DAYS = 397;

/** What a store's authority has signed: each certificate stands in the ledger from when it is given to when it is forgotten. */
export class Issuer {
  readonly #files: CertificateFiles;
  ledger: Ledger;

  constructor(files: CertificateFiles, ledger: Ledger) {
    this.#files = files;
    this.ledger = ledger;
  }

  authority(): Promise<Authority> {
    return Authority.open(this.#files.credentials('ca'));
  }

  /** The server's and our own users' certificates: all, or those that are missing or near their end. */
  async issueOwn(authority: Authority, now: Date, all: boolean): Promise<string[]> {
    const validity = { now, days: LEAF_DAYS };
    const written: string[] = [];
    if (all || !this.#files.isFresh('server', now)) {
      const { certificate, key } = await authority.issueServer(this.ledger.names, validity);
      const cross = this.#files.read('cross.crt') ?? '';
      this.#files.writeCredentials('server', { certificate: certificate + cross, key });
      written.push('server.crt');
    }
    for (const user of [ROOT_USER, ownUser(this.ledger.cluster), localUser(this.ledger.cluster)]) {
      const name = `users/${user}`;
      if (!all && this.#files.isFresh(name, now)) continue;
      const credentials = await authority.issueClient(user, validity);
      this.record(credentials, user);
      this.#files.writeCredentials(name, credentials);
      written.push(`${name}.crt`);
    }
    return written;
  }

  /** Takes back what is good of these; returns their serials. */
  async revoke(which: (each: Issued) => boolean, now: Date): Promise<readonly string[]> {
    const gone = this.ledger.issued.filter((each) => !each.revoked && which(each));
    if (gone.length === 0) return [];
    for (const each of gone) each.revoked = now.toISOString();
    await this.writeRevoked(await this.authority(), now);
    this.save();
    return gone.map(({ serial }) => serial);
  }

  async writeRevoked(authority: Authority, now: Date): Promise<void> {
    const revoked = this.ledger.issued.flatMap(({ serial, revoked: at }) =>
      at === undefined ? [] : [{ serial, at: new Date(at) }],
    );
    this.#files.write(
      'revoked.pem',
      await authority.revocationList(revoked, { now, days: AUTHORITY_DAYS }),
    );
  }

  record({ certificate }: Credentials, user: string, of?: 'proxy'): void {
    const { serial, notAfter } = inspectCertificate(certificate);
    const root = inspectCertificate(this.#files.text('ca.crt'));
    this.ledger.issued.push({
      serial,
      user,
      authority: root.fingerprint,
      notAfter: notAfter.toISOString(),
      ...(of === undefined ? {} : { of }),
    });
    this.save();
  }

  save(): void {
    this.#files.write('ledger.json', `${JSON.stringify(this.ledger, undefined, 2)}\n`);
  }
}
