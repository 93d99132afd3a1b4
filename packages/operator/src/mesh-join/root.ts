import { connectAuth, type StoreAuth } from '@causeway/etcd';
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
