import { type CallOptions, type StoreAuth, settleAuth } from '@causeway/etcd';
import { ownRoles, peerRole, peerUser, ROOT_USER, userOf } from '../join/roles.ts';

/**
 * Gives the store of cluster `own` its users and roles and turns auth on; done again it mends what was changed. The
 * connection must show the certificate of `root`, as from then on nobody else may do this.
 */
export async function setUpAuth(
  auth: StoreAuth,
  own: string,
  options: CallOptions = {},
): Promise<void> {
  const roles = ownRoles(own);
  await auth.addRole(ROOT_USER, options);
  const root = { name: ROOT_USER, roles: [ROOT_USER] };
  await settleAuth(auth, { roles, users: [root, ...roles.map(userOf)] }, options);
  await auth.enable(options);
}

/** Lets `peer` read what peers may of cluster `own`. */
export async function admitPeer(
  auth: StoreAuth,
  own: string,
  peer: string,
  options: CallOptions = {},
): Promise<void> {
  const role = peerRole(own, peer);
  await settleAuth(auth, { roles: [role], users: [userOf(role)] }, options);
}

/**
 * Lets it read no more. Connections that watch already go on until they break: etcd judges a watch when it begins.
 * Whoever must be cut off at once gets the peer's proxy ended, or etcd restarted.
 */
export async function dismissPeer(
  auth: StoreAuth,
  peer: string,
  options: CallOptions = {},
): Promise<void> {
  await auth.deleteUser(peerUser(peer), options);
  await auth.deleteRole(peerUser(peer), options);
}
