import { webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import { PkiError } from './errors.ts';
import { type CertificateInfo, inspectCertificate } from './inspect.ts';
import { generateKey, type KeyPair, pemText, readSigningKey, type SigningKey } from './keys.ts';
import { loadX509, type X509 } from './x509.ts';

/** A certificate and its private key, both PEM. The certificate's own issuers, but for the root, follow it. */
export interface Credentials {
  readonly certificate: string;
  readonly key: string;
}

export interface Validity {
  /** Now, as who asks has it. */
  readonly now: Date;
  readonly days: number;
}

/** Clocks differ a little between machines: what is made now was good five minutes ago. */
const SLACK_MS = 5 * 60_000;
const DAY_MS = 86_400_000;
/** RFC 5280 section 5.3.1. */
const MAX_NAME = 64;

/** An authority that signs: our own, or the site's where it gives us its key. */
export class Authority {
  /** What who trusts it has to know, PEM. */
  readonly certificate: string;
  readonly info: CertificateInfo;
  /** What follows a certificate of its own in the handshake: itself, unless it is a root. */
  readonly #chain: string;
  readonly #parsed: X509.X509Certificate;
  readonly #signing: SigningKey;
  readonly #x509: typeof X509;

  private constructor(x509: typeof X509, certificate: string, signing: SigningKey) {
    this.#x509 = x509;
    this.certificate = certificate;
    this.info = inspectCertificate(certificate);
    this.#chain = this.info.selfSigned ? '' : certificate;
    this.#parsed = new x509.X509Certificate(certificate);
    this.#signing = signing;
  }

  /** A new root with a key of its own. */
  static async create(
    name: string,
    validity: Validity,
  ): Promise<{ authority: Authority; credentials: Credentials }> {
    const pair = await generateKey();
    const certificate = await issue({
      subject: checkName(name),
      issuer: checkName(name),
      publicKey: pair.keys.publicKey,
      signing: { key: pair.keys.privateKey, algorithm: ECDSA },
      validity,
      extensions: await authorityExtensions(pair, undefined, 1),
    });
    return Authority.#opened({ certificate, key: pair.pem });
  }

  /** The one that these PEMs are. Throws `malformed`, `invalid`, `mismatch`. */
  static async open(credentials: Credentials): Promise<Authority> {
    const info = inspectCertificate(credentials.certificate);
    if (!info.isAuthority) {
      throw new PkiError(
        'invalid',
        info.subject,
        `the certificate of ${info.subject} is not an authority's`,
      );
    }
    if (!info.belongsTo(credentials.key)) {
      throw new PkiError(
        'mismatch',
        info.subject,
        `the key is not the one of the authority ${info.subject}`,
      );
    }
    return new Authority(
      await loadX509(),
      credentials.certificate,
      await readSigningKey(credentials.key),
    );
  }

  static async #opened(credentials: Credentials) {
    return { authority: await Authority.open(credentials), credentials };
  }

  /** Whether it may sign an authority below it that signs: RFC 5280 section 4.2.1.9. */
  get maySignAuthorities(): boolean {
    const constraints = this.#parsed.getExtension(this.#x509.BasicConstraintsExtension);
    return constraints?.pathLength === undefined || constraints.pathLength > 0;
  }

  /** For a TLS server. `names` are DNS names and addresses; its own clients may be asked by the same. */
  async issueServer(names: readonly string[], validity: Validity): Promise<Credentials> {
    const [first] = names;
    if (first === undefined)
      throw new PkiError('invalid', names, 'a server needs at least one name or address');
    const x509 = this.#x509;
    // A name of more than 64 characters does not fit the subject, and clients look at the alternatives only.
    // etcd with auth takes a certificate's common name for a user, so that a server's has none that could be one.
    return this.#issueLeaf('', validity, [
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension(
        names.map((name) => generalName(name)),
        true,
      ),
    ]);
  }

  /** For a TLS client: `user` is the common name, which etcd takes for the user. */
  async issueClient(user: string, validity: Validity): Promise<Credentials> {
    const x509 = this.#x509;
    return this.#issueLeaf(checkName(user), validity, [
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
    ]);
  }

  /** An authority below this one, which signs clients or servers and no further authorities. */
  async issueAuthority(
    name: string,
    validity: Validity,
  ): Promise<{ authority: Authority; credentials: Credentials }> {
    const pair = await generateKey();
    const certificate = await issue({
      subject: checkName(name),
      issuer: this.#parsed.subjectName,
      publicKey: pair.keys.publicKey,
      signing: this.#signing,
      validity: this.#within(validity),
      extensions: await authorityExtensions(pair, this.#parsed, 0),
    });
    return Authority.#opened({ certificate: certificate + this.#chain, key: pair.pem });
  }

  /** The list of those that are good no more, PEM. `serials` are hexadecimal, as in `CertificateInfo`. */
  async revocationList(
    revoked: readonly { readonly serial: string; readonly at: Date }[],
    validity: Validity,
  ): Promise<string> {
    const list = await this.#x509.X509CrlGenerator.create(
      {
        issuer: this.#parsed.subjectName,
        thisUpdate: new Date(validity.now.getTime() - SLACK_MS),
        nextUpdate: new Date(validity.now.getTime() + validity.days * DAY_MS),
        // RFC 5280 section 5.1.2.6: with nothing revoked the list of them must be absent.
        ...(revoked.length === 0
          ? {}
          : {
              entries: revoked.map(({ serial, at }) => ({
                serialNumber: serial,
                revocationDate: at,
              })),
            }),
        signingAlgorithm: this.#signing.algorithm,
        signingKey: this.#signing.key,
      },
      webcrypto as Crypto,
    );
    // Go and OpenSSL know it by this label only.
    return pemText('X509 CRL', list.rawData);
  }

  /**
   * A certificate for another authority's key, which servers show behind their own while this one, which is being
   * replaced, is all that some of their clients trust.
   */
  async crossSign(next: Authority, validity: Validity): Promise<string> {
    const crypto = webcrypto as Crypto;
    const x509 = this.#x509;
    const publicKey = await next.#parsed.publicKey.export(crypto);
    const { KeyUsageFlags: usage } = x509;
    return issue({
      subject: next.info.subject,
      issuer: this.#parsed.subjectName,
      publicKey,
      signing: this.#signing,
      validity: this.#within(validity),
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(usage.keyCertSign | usage.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(publicKey, false, crypto),
        await x509.AuthorityKeyIdentifierExtension.create(this.#parsed, false, crypto),
      ],
    });
  }

  async #issueLeaf(
    subject: string,
    validity: Validity,
    extensions: readonly X509.Extension[],
  ): Promise<Credentials> {
    const pair = await generateKey();
    const x509 = this.#x509;
    const { KeyUsageFlags: usage } = x509;
    const certificate = await issue({
      subject,
      issuer: this.#parsed.subjectName,
      publicKey: pair.keys.publicKey,
      signing: this.#signing,
      validity: this.#within(validity),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(usage.digitalSignature, true),
        ...extensions,
        await x509.AuthorityKeyIdentifierExtension.create(this.#parsed, false, webcrypto as Crypto),
      ],
    });
    return { certificate: certificate + this.#chain, key: pair.pem };
  }

  /** Nothing outlives who signed it. Throws `expired`. */
  #within(validity: Validity): Validity {
    const { subject, notAfter } = this.info;
    const left = (notAfter.getTime() - validity.now.getTime()) / DAY_MS;
    if (left <= 0) {
      throw new PkiError(
        'expired',
        subject,
        `the authority ${subject} was good until ${notAfter.toISOString()}: make a new one`,
      );
    }
    return { now: validity.now, days: Math.min(validity.days, left) };
  }
}

const ECDSA = { name: 'ECDSA', hash: 'SHA-256' } as const;

interface Issue {
  /** The common name; empty for none. */
  readonly subject: string;
  /** The common name of a root, or the name of who signs. */
  readonly issuer: string | X509.Name;
  readonly publicKey: webcrypto.CryptoKey;
  readonly signing: SigningKey;
  readonly validity: Validity;
  readonly extensions: readonly X509.Extension[];
}

async function issue(from: Issue): Promise<string> {
  const { now, days } = from.validity;
  if (!(days > 0)) throw new PkiError('invalid', days, `days must be more than 0, not ${days}`);
  // RFC 5280 section 4.1.2.2: positive and not more than 20 octets; unforeseeable by its randomness.
  const serial = webcrypto.getRandomValues(new Uint8Array(16));
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const x509 = await loadX509();
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: Buffer.from(serial).toString('hex'),
      subject: from.subject === '' ? [] : [{ CN: [from.subject] }],
      issuer: typeof from.issuer === 'string' ? [{ CN: [from.issuer] }] : from.issuer,
      notBefore: new Date(now.getTime() - SLACK_MS),
      notAfter: new Date(now.getTime() + days * DAY_MS),
      publicKey: from.publicKey,
      signingKey: from.signing.key,
      signingAlgorithm: from.signing.algorithm,
      extensions: [...from.extensions],
    },
    webcrypto as Crypto,
  );
  return `${certificate.toString('pem')}\n`;
}

async function authorityExtensions(
  pair: KeyPair,
  issuer: X509.X509Certificate | undefined,
  pathLength: number,
) {
  const x509 = await loadX509();
  const { KeyUsageFlags: usage } = x509;
  const crypto = webcrypto as Crypto;
  return [
    new x509.BasicConstraintsExtension(true, pathLength, true),
    new x509.KeyUsagesExtension(usage.keyCertSign | usage.cRLSign, true),
    await x509.SubjectKeyIdentifierExtension.create(pair.keys.publicKey, false, crypto),
    ...(issuer === undefined
      ? []
      : [await x509.AuthorityKeyIdentifierExtension.create(issuer, false, crypto)]),
  ];
}

function generalName(name: string) {
  if (isIP(name) !== 0) return { type: 'ip' as const, value: name };
  if (/^(\*\.)?[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$/.test(name) && name.length <= 253)
    return { type: 'dns' as const, value: name };
  throw new PkiError(
    'invalid',
    name,
    `${JSON.stringify(name)} is neither a DNS name nor an address`,
  );
}

function checkName(name: string): string {
  if (name.length >= 1 && name.length <= MAX_NAME && /^[\x20-\x7e]+$/.test(name)) return name;
  throw new PkiError(
    'invalid',
    name,
    `a certificate's name is 1 to ${MAX_NAME} printable characters, not ${JSON.stringify(name)}`,
  );
}
