/** Network namespaces with cables between them, for daemons that must meet over real sockets. */
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';

let made = 0;
/** Those that stand: taken away at the end also of a process that failed half-way. */
const standing = new Set<Namespace>();
process.once('exit', () => {
  for (const namespace of standing) namespace[Symbol.dispose]();
});

function ip(lines: readonly string[]): void {
  execFileSync('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n`, encoding: 'utf8' });
}

/** A namespace of this process: its name carries the process id, and it goes with the block. */
export class Namespace implements Disposable {
  readonly name: string;

  /** @param tag short, as the name of what stands inside */
  constructor(tag: string) {
    made += 1;
    this.name = `cwi${process.pid}-${made}${tag}`;
    execFileSync('ip', ['netns', 'add', this.name]);
    standing.add(this);
    // Addresses are wanted at once, and both families are forwarded, as in a router.
    this.sysctl({
      'net.ipv6.conf.all.accept_dad': 0,
      'net.ipv6.conf.default.accept_dad': 0,
      'net.ipv4.ip_forward': 1,
      'net.ipv6.conf.all.forwarding': 1,
    });
    this.ip('link set lo up');
  }

  /** Commands of ip(8), one a line, in one batch. */
  ip(...lines: readonly string[]): void {
    execFileSync('ip', ['-n', this.name, '-batch', '-'], {
      input: `${lines.join('\n')}\n`,
      encoding: 'utf8',
    });
  }

  sysctl(values: Readonly<Record<string, number | string>>): void {
    const words = Object.entries(values).map(([key, value]) => `${key}=${value}`);
    execFileSync('nsenter', this.#argv(['sysctl', '-qw', ...words]));
  }

  run(...argv: readonly string[]): string {
    return execFileSync('nsenter', this.#argv(argv), { encoding: 'utf8' });
  }

  spawn(argv: readonly string[], options: SpawnOptions): ChildProcess {
    return spawn('nsenter', this.#argv(argv), options);
  }

  /** What stands before a command that is to run inside. */
  get prefix(): readonly string[] {
    return ['nsenter', `--net=/run/netns/${this.name}`];
  }

  #argv(argv: readonly string[]): string[] {
    return [`--net=/run/netns/${this.name}`, ...argv];
  }

  [Symbol.dispose](): void {
    standing.delete(this);
    try {
      execFileSync('ip', ['netns', 'delete', this.name], { stdio: 'ignore' });
    } catch {
      // Gone already.
    }
  }
}

export interface CableEnd {
  readonly namespace: Namespace;
  readonly device: string;
  /** With the prefix length: 192.0.2.1/24, fd00::1/64. */
  readonly addresses: readonly string[];
}

/** A veth pair between two namespaces, both ends up. It goes with either namespace. */
export function cable(one: CableEnd, other: CableEnd): void {
  ip([
    `link add ${one.device} netns ${one.namespace.name} type veth peer name ${other.device} netns ${other.namespace.name}`,
  ]);
  for (const { namespace, device, addresses } of [one, other]) {
    namespace.ip(
      ...addresses.map(
        (address) => `address add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`,
      ),
      `link set ${device} up`,
    );
  }
}
