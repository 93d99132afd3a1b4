import { Authority, type Credentials, inspectCertificate, splitCertificates } from '@causeway/pki';
import { MeshError } from '../errors.ts';

/** The site's authority, if it will do. Throws MeshError `bad-value`, PkiError. */
export async function openSite(site: Credentials): Promise<Authority> {
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
