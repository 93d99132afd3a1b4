import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning, launch, must, type ProcessMark } from '../host/process.ts';
import { until } from '../host/wait.ts';
import { CriClient } from './cri.ts';
import { imageArchive } from './image.ts';

export interface ContainerdOptions {
  /** Everything that this containerd keeps; removed with it. Short: sockets live in it. */
  readonly directory: string;
  /** Directories with CNI plugins, the first one is given to the runtime as its own. */
  readonly cniBinDir: string;
  /** A network list, which becomes the only one. */
  readonly cniList: object;
  /** Command prefix that puts it into a node, such as `nsenter --net=...`. It must exec all the way. */
  readonly enter?: readonly string[];
}

/** The image that every sandbox and, unless told otherwise, every container is made of. */
export const CONTAINERD_IMAGE = 'localhost/causeway-busybox:1';

/**
 * Debian's containerd as a node runs it, with its CRI plugin, our CNI configuration, and root, state and socket of
 * its own. Disposing of it ends every pod, then it, then removes what it left.
 */
export class Containerd implements AsyncDisposable {
  readonly cri: CriClient;
  readonly #directory: string;
  readonly #process: ProcessMark;

  private constructor(directory: string, process: ProcessMark, cri: CriClient) {
    this.#directory = directory;
    this.#process = process;
    this.cri = cri;
  }

  /** Starts it and returns when it would run a pod. Throws LabError, with the end of its log in `value`. */
  static async start(options: ContainerdOptions): Promise<Containerd> {
    const { directory, enter = [] } = options;
    const confDir = join(directory, 'cni');
    mkdirSync(confDir, { recursive: true });
    writeFileSync(join(confDir, '10-lab.conflist'), JSON.stringify(options.cniList));
    const config = join(directory, 'config.toml');
    writeFileSync(config, configuration(directory, confDir, options.cniBinDir));
    const archive = join(directory, 'image.tar');
    writeFileSync(archive, imageArchive(CONTAINERD_IMAGE));
    const socket = socketOf(directory);
    const log = join(directory, 'containerd.log');
    const process = await launch([...enter, 'containerd', '--config', config], log);
    const cri = new CriClient(socket);
    const containerd = new Containerd(directory, process, cri);
    try {
      await until('containerd', () => (existsSync(socket) ? undefined : 'no socket'), {
        timeoutMs: 20_000,
        hint: tail(log),
      });
      const ctr = ['ctr', '--address', socket, '--namespace', 'k8s.io'];
      await must([...ctr, 'images', 'import', '--snapshotter', SNAPSHOTTER, archive], {
        timeoutMs: 60_000,
      });
      const look = async () => {
        const unready = await cri.whyNotReady();
        if (unready !== undefined) return unready;
        return (await cri.hasImage(CONTAINERD_IMAGE)) ? undefined : 'without its image';
      };
      await until('containerd', look, { timeoutMs: 20_000, hint: tail(log) });
      return containerd;
    } catch (error) {
      await containerd[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (isRunning(this.#process)) {
      for (const id of await this.cri.listSandboxes().catch(() => [])) {
        await this.cri.stopSandbox(id).catch(() => {});
        await this.cri.removeSandbox(id).catch(() => {});
      }
    }
    this.cri[Symbol.dispose]();
    await end([this.#process.pid], 'SIGTERM');
    // A shim outlives its containerd, and with it the container whose network could not be taken away.
    await end(shimsOf(socketOf(this.#directory)), 'SIGKILL');
    for (const mount of mountsUnder(this.#directory)) {
      await must(['umount', '--lazy', mount], { timeoutMs: 10_000 });
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Copies instead of overlays: works on every file system, and the image has one layer of two megabytes. */
const SNAPSHOTTER = 'native';

const socketOf = (directory: string) => join(directory, 'containerd.sock');

function configuration(directory: string, confDir: string, binDir: string): string {
  const text = JSON.stringify;
  return `version = 2
root = ${text(join(directory, 'root'))}
state = ${text(join(directory, 'state'))}
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
  address = ${text(socketOf(directory))}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = ${text(CONTAINERD_IMAGE)}
  disable_apparmor = true
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  disable_tcp_service = true
  stream_server_port = "0"
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = ${text(binDir)}
    conf_dir = ${text(confDir)}
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "${SNAPSHOTTER}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`;
}

/** The shims that this containerd started: their command line names its socket. */
function shimsOf(socket: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const argv = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
        return argv[0]?.includes('containerd-shim') === true && argv.includes(socket);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Sends the signal, and SIGKILL to those that take longer than ten seconds over it. */
async function end(pids: readonly number[], signal: NodeJS.Signals): Promise<void> {
  const kill = (pid: number, how: NodeJS.Signals | 0) => {
    try {
      process.kill(pid, how);
      return true;
    } catch {
      return false;
    }
  };
  const gone = (pid: number) => (kill(pid, 0) && !isZombie(pid) ? `${pid} runs` : undefined);
  for (const pid of pids) {
    kill(pid, signal);
    await until(`the end of ${pid}`, () => gone(pid), { timeoutMs: 10_000 }).catch(() =>
      kill(pid, 'SIGKILL'),
    );
  }
}

function isZombie(pid: number): boolean {
  try {
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/, ''));
  } catch {
    return true;
  }
}

function mountsUnder(directory: string): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((mount) => mount.startsWith(`${directory}/`))
    .reverse();
}

function tail(log: string): string {
  return existsSync(log) ? readFileSync(log, 'utf8').slice(-2_000) : 'it left no log';
}
