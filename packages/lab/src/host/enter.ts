import { type LabNames, labCgroup, netnsPath, nodePaths, routerPaths } from './names.ts';

/**
 * Command prefixes that put what follows them into a place, by exec all the way: the process that is
 * started is the command itself. Mount namespaces are made anew at every entry out of parts that stay
 * (the node's BPF file system, its run directory), so nothing has to be held open for them.
 */

/** $1 is the cgroup; the rest is the command. */
const ENTER_PLAIN = 'echo 0 > "$1/cgroup.procs" || exit 126; shift; exec "$@"';

/**
 * $1 cgroup, $2 node name, $3 the node's directory. /sys is new because its class/net belongs to the
 * network namespace it was mounted in; mounts of new pods' namespaces still come in (propagation slave).
 */
const ENTER_NODE = `set -e
echo 0 > "$1/cgroup.procs"
hostname "$2"
mount -t sysfs none "$3/sys"
mount --rbind /sys/fs/cgroup "$3/sys/fs/cgroup"
mount --bind "$3/bpffs" "$3/sys/fs/bpf"
mount --rbind "$3/sys" /sys
mount --bind "$3/run" /run/causeway
shift 3
exec "$@"`;

/** $1 cgroup, $2 the machine's name, $3 its directory. */
const ENTER_OPERATOR = `set -e
echo 0 > "$1/cgroup.procs"
hostname "$2"
mount --bind "$3/run" /run/causeway
shift 3
exec "$@"`;

/** $1 cgroup, $2 router name, $3 the router's directory. */
const ENTER_ROUTER = `set -e
echo 0 > "$1/cgroup.procs"
hostname "$2"
mount --bind "$3/run" /run/bird
mount --bind "$3/run" /run/frr
mount --bind "$3/config" /etc/frr
shift 3
exec "$@"`;

export type PlaceKind =
  | 'rack'
  | 'router'
  | 'host'
  | 'node'
  | 'etcd'
  | 'operator'
  | 'inventory'
  | 'pod';

/** Cgroup of what runs in a place. Pods lie below their node's, as on any node. */
export function placeCgroup(
  cgroupRoot: string,
  names: LabNames,
  at: { readonly kind: PlaceKind; readonly place: string; readonly node?: string },
): string {
  const lab = labCgroup(cgroupRoot, names);
  const own = at.place.replaceAll('/', '_');
  if (at.kind === 'node') return `${nodeCgroup(cgroupRoot, names, at.place)}/system`;
  if (at.kind === 'pod') return `${nodeCgroup(cgroupRoot, names, at.node ?? '')}/pods/${own}`;
  return `${lab}/places/${own}`;
}

/** What an agent attaches its socket hooks to: all that runs on the node, pods and the rest. */
export function nodeCgroup(cgroupRoot: string, names: LabNames, node: string): string {
  return `${labCgroup(cgroupRoot, names)}/nodes/${node}`;
}

export function enterPlain(names: LabNames, place: string, cgroup: string): string[] {
  return ['nsenter', `--net=${netnsPath(names, place)}`, 'sh', '-c', ENTER_PLAIN, 'enter', cgroup];
}

export function enterNode(names: LabNames, node: string, cgroup: string): string[] {
  return enterMachine(names, node, ENTER_NODE, cgroup, nodePaths(names.lab, node).directory);
}

export function enterOperator(names: LabNames, place: string, cgroup: string): string[] {
  return enterMachine(names, place, ENTER_OPERATOR, cgroup, nodePaths(names.lab, place).directory);
}

/** Of a router that runs a daemon. */
export function enterRouter(names: LabNames, router: string, cgroup: string): string[] {
  const { directory } = routerPaths(names.lab, router);
  return enterMachine(names, router, ENTER_ROUTER, cgroup, directory);
}

function enterMachine(
  names: LabNames,
  place: string,
  script: string,
  cgroup: string,
  directory: string,
): string[] {
  return [
    'nsenter',
    `--net=${netnsPath(names, place)}`,
    'unshare',
    '--mount',
    '--uts',
    '--propagation',
    'slave',
    ...['sh', '-c', script, 'enter', cgroup, place.replaceAll('/', '-'), directory],
  ];
}
