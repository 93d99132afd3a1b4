import { connectAuth, type StoreAuth } from '@causeway/etcd';
import { StoreDirectory } from '@causeway/mesh';
import type { OperatorConfig } from '../config.ts';

/** The store's users and roles as `root`; undefined where the operator was not given its certificate. */
export function rootAuth({ etcd, mesh }: OperatorConfig): StoreAuth | undefined {
  const root = mesh.join?.root;
  if (root === undefined) return undefined;
  const caFile = etcd.tls?.caFile;
  return connectAuth({
    endpoints: etcd.endpoints,
    tls: { ...root, ...(caFile === undefined ? {} : { caFile }) },
  });
}

/** The store's certificates, where the operator may sign and revoke. Throws MeshError `not-exposed`, `bad-value`. */
export function ownDirectory({ mesh }: OperatorConfig): StoreDirectory | undefined {
  const pki = mesh.join?.pki;
  return pki === undefined ? undefined : StoreDirectory.open(pki);
}
