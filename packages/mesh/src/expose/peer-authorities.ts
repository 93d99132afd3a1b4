import { readdirSync } from 'node:fs';
import { Authority, checkCredentials, inspectCertificate, splitCertificates } from '@causeway/pki';
import { MeshError } from '../errors.ts';
import { peerUser } from '../join/roles.ts';
import { isClusterName } from '../keys.ts';
import type { CertificateFiles } from './files.ts';
import { AUTHORITY_DAYS, type Issuer, LEAF_DAYS } from './issuer.ts';

/** Each peer has an authority of its own under the store's, so that its proxy takes its clients and nobody else's. */
export class PeerAuthorities {
  readonly #files: CertificateFiles;
  readonly #issuer: Issuer;

  constructor(files: CertificateFiles, issuer: Issuer) {
    this.#files = files;
    this.#issuer = issuer;
  }

  /** The peer's authority, made where there is none that is good. */
  async of(peer: string, now: Date): Promise<Authority> {
    const name = `peers/${peerName(peer)}/ca`;
    const root = await this.#issuer.authority();
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
    this.#issuer.save();
    return authority;
  }

  /** The proxy's certificate is there and good from now on. */
  async settleProxy(peer: string, authority: Authority, now: Date): Promise<void> {
    if (!this.#isProxyFresh(`peers/${peer}/proxy`, now))
      await this.#issueProxy(peer, authority, now);
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
    this.#issuer.record({ certificate, key }, peerUser(peer), 'proxy');
    const nameless = await authority.issueServer(['proxy.invalid'], validity);
    const [first = ''] = splitCertificates(nameless.certificate);
    const lead = first.replaceAll(' CERTIFICATE', ' X509 CERTIFICATE');
    this.#files.writeCredentials(`peers/${peer}/proxy`, { certificate: lead + certificate, key });
  }

  /** Makes proxies' certificates anew that near their end. Returns their files. */
  async renewProxies(now: Date): Promise<readonly string[]> {
    const written: string[] = [];
    for (const peer of readdirSync(this.#files.file('peers'))) {
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
    return !this.#issuer.ledger.issued.some((each) => each.serial === serial && each.revoked);
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

  /** Only the present authorities count for proxies: the time of the old ones is over. */
  endFormer(): void {
    for (const peer of readdirSync(this.#files.file('peers'))) {
      const [own = ''] = splitCertificates(this.#files.text(`peers/${peer}/ca.crt`));
      this.#files.write(`peers/${peer}/clients.crt`, own);
    }
  }

  forget(peer: string): void {
    this.#files.remove(`peers/${peerName(peer)}`);
  }
}

function peerName(peer: string): string {
  if (isClusterName(peer) && peer !== 'default') return peer;
  const rule = '1 to 32 of a-z, 0-9 and inner "-", and not "default"';
  throw new MeshError('bad-key', `cluster name ${JSON.stringify(peer)} must be ${rule}`, peer);
}
