import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LabError } from '../errors.ts';
import { type CommandResult, must, run } from '../host/process.ts';
import { IDLE_COMMAND, writeRootfs } from './image.ts';

export interface PodmanOptions {
  /** Everything that this podman keeps; removed with it. */
  readonly directory: string;
  readonly cniBinDirs: readonly string[];
  /** A network list; containers name it by its `name`. */
  readonly cniList: { readonly name: string };
  /** Command prefix that puts it into a node, such as `nsenter --net=...`. */
  readonly enter?: readonly string[];
  /** Cgroup under which podman puts those of its containers. */
  readonly cgroupParent?: string;
}

/** Debian's podman with its CNI backend, a storage of its own and containers made of a busybox directory. */
export class Podman implements AsyncDisposable {
  readonly #directory: string;
  readonly #network: string;
  readonly #enter: readonly string[];
  readonly #cgroup: readonly string[];
  readonly #names = new Set<string>();

  private constructor({ directory, cniList, enter = [], cgroupParent }: PodmanOptions) {
    this.#directory = directory;
    this.#network = cniList.name;
    this.#enter = enter;
    this.#cgroup = cgroupParent === undefined ? [] : ['--cgroup-parent', cgroupParent];
  }

  /** Writes its configuration. Throws LabError `platform-missing` if it does not know our network. */
  static async prepare(options: PodmanOptions): Promise<Podman> {
    const { directory } = options;
    for (const part of ['cni', 'root', 'run', 'tmp'])
      mkdirSync(join(directory, part), { recursive: true });
    writeRootfs(join(directory, 'rootfs'));
    writeFileSync(join(directory, 'cni', '10-lab.conflist'), JSON.stringify(options.cniList));
    writeFileSync(join(directory, 'containers.conf'), configuration(options));
    const podman = new Podman(options);
    const known = (await podman.must('network', 'ls', '--format', '{{.Name}}')).split('\n');
    if (!known.includes(options.cniList.name)) {
      throw new LabError(
        'platform-missing',
        `podman does not know the network ${options.cniList.name}`,
        {
          value: known,
        },
      );
    }
    return podman;
  }

  /** Starts a container, by default one that only waits, and gives its id. */
  async run(name: string, command: readonly string[] = IDLE_COMMAND): Promise<string> {
    this.#names.add(name);
    const rootfs = join(this.#directory, 'rootfs');
    // Its output stays open in conmon, so it must not be ours.
    const id = await this.must(
      ...['run', '--detach', '--name', name, '--network', this.#network, '--log-driver', 'none'],
      ...[...this.#cgroup, '--rootfs', `${rootfs}:O`, ...command],
    );
    return id.trim();
  }

  exec(name: string, command: readonly string[]): Promise<CommandResult> {
    return run(this.#argv('exec', name, ...command), { timeoutMs: 60_000, env: this.#env });
  }

  /** Its addresses, as podman shows them, IPv4 first. */
  async addresses(name: string): Promise<string[]> {
    const [container] = JSON.parse(await this.must('inspect', name)) as {
      NetworkSettings: {
        Networks: Record<string, { IPAddress: string; GlobalIPv6Address: string }>;
      };
    }[];
    const network = container?.NetworkSettings.Networks[this.#network];
    return [network?.IPAddress, network?.GlobalIPv6Address].filter(
      (address): address is string => address !== undefined && address !== '',
    );
  }

  async remove(name: string): Promise<void> {
    await this.must('rm', '--force', '--time', '0', '--ignore', name);
    this.#names.delete(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...this.#names]) await this.remove(name);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Runs podman; its standard output. Throws LabError with what it said. */
  must(...argv: readonly string[]): Promise<string> {
    return must(this.#argv(...argv), { timeoutMs: 90_000, env: this.#env });
  }

  get #env(): Record<string, string> {
    return { CONTAINERS_CONF: join(this.#directory, 'containers.conf') };
  }

  #argv(...argv: readonly string[]): string[] {
    const at = (part: string) => join(this.#directory, part);
    return [
      ...[...this.#enter, 'podman', '--root', at('root'), '--runroot', at('run')],
      ...['--tmpdir', at('tmp'), '--storage-driver', 'vfs', '--network-config-dir', at('cni')],
      ...argv,
    ];
  }
}

function configuration({ cniBinDirs, cniList }: PodmanOptions): string {
  // Podman asks for more open files than a machine without CAP_SYS_RESOURCE may give.
  return `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]

[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"

[network]
network_backend = "cni"
cni_plugin_dirs = ${JSON.stringify(cniBinDirs)}
default_network = ${JSON.stringify(cniList.name)}
`;
}
