import type { DesiredRole, DesiredUser, Permission } from '@causeway/etcd';
import { clusterConfigKey, HEARTBEAT_KEY } from '../keys.ts';

/**
 * Users of a cluster's store and what they may; clustermesh-kvstore.md, section 4.3. A client certificate's common
 * name is the user.
 */

export const ROOT_USER = 'root';
/** Our own components: agents, operator, command line. */
export const ownUser = (cluster: string): string => `causeway-${cluster}`;
/** Readers inside the cluster that need only what is cached of others, in Cilium's form. */
export const localUser = (cluster: string): string => `local-${cluster}`;
export const peerUser = (peer: string): string => `remote-${peer}`;

/** The prefix of our extension that peers may read: shards of global services' backends. */
const SHARED_EXTENSION = 'causeway/state/service-backends/';
/**
 * etcd's proxy watches this key, which nobody writes, to learn that the store has a leader. Without the right it serves
 * as well, and asks ten times a second for ever (seen with 3.4.23).
 */
const PROXY_LEADER_KEY = '__lostleader';

const read = (range: Permission['range']): Permission => ({ access: 'read', range });
const prefix = (text: string) => ({ type: 'prefix', prefix: text }) as const;
const key = (text: string) => ({ type: 'key', key: text }) as const;

/** What a peer may read of the store of cluster `own`, and nothing beyond. */
export function peerRole(own: string, peer: string): DesiredRole {
  return {
    name: peerUser(peer),
    permissions: [
      read(prefix(HEARTBEAT_KEY)),
      read(prefix('cilium/state/')),
      read(key(clusterConfigKey(own))),
      read(prefix(`cilium/synced/${own}/`)),
      read(prefix(SHARED_EXTENSION)),
      read(key(PROXY_LEADER_KEY)),
    ],
  };
}

/** The cluster's own roles; `root` is etcd's. */
export function ownRoles(own: string): readonly DesiredRole[] {
  return [
    {
      name: ownUser(own),
      permissions: [
        { access: 'readwrite', range: prefix('cilium/') },
        { access: 'readwrite', range: prefix('causeway/') },
        read(key(PROXY_LEADER_KEY)),
      ],
    },
    {
      name: localUser(own),
      permissions: [
        read(prefix(HEARTBEAT_KEY)),
        read(prefix('cilium/cache/')),
        read(prefix('cilium/cluster-config/')),
        read(prefix('cilium/synced/')),
      ],
    },
  ];
}

/** Each user has the role of its name and no other. */
export const userOf = ({ name }: DesiredRole): DesiredUser => ({ name, roles: [name] });

/** What a reader tries to see that its rights are these: all of the first succeed, all of the second are refused. */
export interface RightsToTry {
  readonly readable: readonly Permission['range'][];
  readonly unreadable: readonly Permission['range'][];
  readonly unwritable: readonly string[];
}

export function rightsToTry(own: string): RightsToTry {
  return {
    readable: [
      prefix(HEARTBEAT_KEY),
      prefix('cilium/state/nodes/v1/'),
      key(clusterConfigKey(own)),
      prefix(`cilium/synced/${own}/`),
    ],
    unreadable: [prefix('causeway/registry/'), prefix('cilium/cluster-config/'), prefix('')],
    unwritable: [`cilium/state/nodes/v1/${own}/causeway-may-i-write`, 'causeway/may-i-write'],
  };
}
