import { join } from 'node:path';

/** Where running labs keep their state, sockets and logs. */
export const LAB_ROOT = '/run/causeway-lab';
export const NETNS_ROOT = '/run/netns';

/** Lab names hold no dot, so that a prefix never reaches into another lab's names. */
export const LAB_NAME = /^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/;

/**
 * Every name that a lab leaves on the machine. `run` is the process id that built it: a lab that comes
 * up again under the same name never meets what an earlier one left behind.
 */
export interface LabNames {
  readonly lab: string;
  readonly run: number;
}

/** `cwlab.demo.4711.`: the start of all its namespaces' names. */
export function netnsPrefix(names: LabNames): string {
  return `cwlab.${names.lab}.${names.run}.`;
}

/** A place's namespace. A pod's place is `cluster/namespace/pod`; no part holds an underscore. */
export function netnsName(names: LabNames, place: string): string {
  return netnsPrefix(names) + place.replaceAll('/', '_');
}

export function netnsPath(names: LabNames, place: string): string {
  return join(NETNS_ROOT, netnsName(names, place));
}

/** The lab's cgroup, below the root of the version 2 hierarchy. Holds every process of the lab. */
export function labCgroup(cgroupRoot: string, names: LabNames): string {
  return join(cgroupRoot, `causeway-lab.${names.lab}.${names.run}`);
}

export function labDirectory(lab: string): string {
  return join(LAB_ROOT, lab);
}

export interface NodePaths {
  readonly directory: string;
  /** Seen in the node as /run/causeway. */
  readonly run: string;
  /** A BPF file system of the node's own, seen in the node as /sys/fs/bpf. */
  readonly bpffs: string;
  /** An empty directory where the node's own /sys is put together. */
  readonly sys: string;
}

/** Of a node, or of an operator's machine by its place. */
export function nodePaths(lab: string, node: string): NodePaths {
  const directory = join(labDirectory(lab), 'nodes', node.replaceAll('/', '_'));
  const run = join(directory, 'run');
  return {
    directory,
    run,
    bpffs: join(directory, 'bpffs'),
    sys: join(directory, 'sys'),
  };
}

/** The programs that a node runs for its network, and the one that an operator's machine runs. */
export type ProgramName = 'agent' | 'speaker' | 'bfd' | 'operator' | 'inventory';

export interface NodeProgramPaths {
  readonly socket: string;
  readonly pid: string;
  readonly log: string;
  readonly config: string;
}

export function nodePrograms(lab: string, node: string, program: ProgramName): NodeProgramPaths {
  const { directory, run } = nodePaths(lab, node);
  return {
    socket: join(run, `${program}.sock`),
    pid: join(directory, `${program}.pid`),
    log: join(directory, `${program}.log`),
    config: join(directory, `${program}.yaml`),
  };
}

export interface StorePaths {
  readonly directory: string;
  readonly data: string;
  readonly log: string;
  readonly pid: string;
  /** A Unix socket that leads to the store from outside its namespace. */
  readonly socket: string;
  readonly forwarderPid: string;
  /** Certificates and keys of a store in a mesh. */
  readonly pki: string;
}

export function storePaths(lab: string, cluster: string): StorePaths {
  const directory = join(labDirectory(lab), 'etcd', cluster);
  return {
    directory,
    data: join(directory, 'data'),
    log: join(directory, 'etcd.log'),
    pid: join(directory, 'etcd.pid'),
    socket: join(directory, 'client.sock'),
    forwarderPid: join(directory, 'forwarder.pid'),
    pki: join(directory, 'pki'),
  };
}

export interface RouterPaths {
  readonly directory: string;
  /** Seen in the router as /run/bird and /run/frr. */
  readonly run: string;
  /** Seen in the router as /etc/frr. */
  readonly config: string;
  readonly log: (program: string) => string;
  readonly pid: (program: string) => string;
}

export function routerPaths(lab: string, router: string): RouterPaths {
  const directory = join(labDirectory(lab), 'routers', router);
  return {
    directory,
    run: join(directory, 'run'),
    config: join(directory, 'config'),
    log: (program) => join(directory, `${program}.log`),
    pid: (program) => join(directory, `${program}.pid`),
  };
}
