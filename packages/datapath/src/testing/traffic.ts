import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { Address } from '@causeway/ip';
import { bindUdp, listenTcp, type Netns } from '@causeway/linux';

export interface CommandResult {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Far more than any command here takes on a busy machine. */
const TIMEOUT_MS = 20_000;

/** A command in a named namespace; killed after `timeoutMs`. */
export function inNamespace(
  nsName: string,
  command: readonly string[],
  options: {
    readonly input?: Uint8Array;
    readonly timeoutMs?: number;
    /** Ends the command. */
    readonly signal?: AbortSignal;
  } = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn('nsenter', [`--net=/run/netns/${nsName}`, ...command]);
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? TIMEOUT_MS);
    options.signal?.addEventListener('abort', () => child.kill('SIGKILL'));
    const out: Buffer[] = [];
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk;
    });
    child.stdin.on('error', () => {});
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? -1, stdout: Buffer.concat(out), stderr });
    });
    child.stdin.end(options.input);
  });
}

/** True when the address answers. `size`: bytes of payload. */
export async function ping(
  nsName: string,
  to: Address,
  options: { readonly size?: number; readonly count?: number } = {},
): Promise<boolean> {
  const { code } = await inNamespace(nsName, [
    'busybox',
    'ping',
    ...(Address.isIPv6(to) ? ['-6'] : []),
    '-c',
    String(options.count ?? 1),
    '-W',
    '1',
    '-s',
    String(options.size ?? 56),
    to,
  ]);
  return code === 0;
}

const socatTarget = (address: Address, port: number) =>
  Address.isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;

/** Sends `data` to a TCP echo server and returns what comes back, or undefined when the connection fails. */
export async function tcpEcho(
  nsName: string,
  to: Address,
  port: number,
  data: Uint8Array,
): Promise<Buffer | undefined> {
  const { code, stdout } = await inNamespace(
    nsName,
    ['socat', '-t', '15', '-', `TCP:${socatTarget(to, port)},connect-timeout=1`],
    { input: data },
  );
  return code === 0 ? stdout : undefined;
}

const UDP_CLIENT = `import socket, sys
s = socket.socket(socket.AF_INET6 if sys.argv[3] == "6" else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[4]))
if len(sys.argv) > 5:
    s.setsockopt(*((41, 75) if sys.argv[3] == "6" else (0, 19)), 1)
    s.bind((sys.argv[5], 0))
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(sys.stdin.buffer.read())
try: sys.stdout.buffer.write(s.recv(65535))
except OSError: pass`;

/** One datagram there and back; undefined when nothing comes. `source`: an address that need not be the sender's. */
export async function udpEcho(
  nsName: string,
  to: Address,
  port: number,
  data: Uint8Array,
  { seconds = 5, source }: { readonly seconds?: number; readonly source?: Address } = {},
): Promise<Buffer | undefined> {
  // socat waits for a while after the answer, or not long enough for it.
  const { stdout } = await inNamespace(
    nsName,
    [
      ...['python3', '-S', '-c', UDP_CLIENT],
      ...[to, String(port), Address.isIPv6(to) ? '6' : '4', String(seconds)],
      ...(source === undefined ? [] : [source]),
    ],
    { input: data },
  );
  return stdout.length > 0 ? stdout : undefined;
}

/** As udpEcho, again while nothing comes: a datagram may be lost, and a busy machine late. */
export async function udpEchoes(
  nsName: string,
  to: Address,
  port: number,
  data: Uint8Array,
): Promise<Buffer | undefined> {
  for (let tries = 0; tries < 10; tries++) {
    const echoed = await udpEcho(nsName, to, port, data);
    if (echoed !== undefined) return echoed;
  }
  return undefined;
}

/** Echo servers for TCP and UDP on all addresses of a namespace; `peers` are those who connected. */
export function echoServers(
  ns: Netns,
  port: number,
): Disposable & { readonly peers: Set<string>; readonly datagrams: string[] } {
  const peers = new Set<string>();
  const datagrams: string[] = [];
  const undo = new DisposableStack();
  for (const address of [new Uint8Array(4), new Uint8Array(16)]) {
    const tcp = createServer({ allowHalfOpen: true }, (socket) => {
      peers.add(socket.remoteAddress ?? '');
      socket.on('error', () => {});
      socket.pipe(socket);
    });
    tcp.listen({ fd: listenTcp({ ns, address, port, v6Only: address.length === 16 }).release() });
    undo.defer(() => tcp.close());
    const udp = createSocket(address.length === 16 ? 'udp6' : 'udp4');
    udp.bind({ fd: bindUdp({ ns, address, port, v6Only: address.length === 16 }).release() });
    udp.on('error', () => {});
    udp.on('message', (message, from) => {
      datagrams.push(`${from.address} ${from.port}`);
      udp.send(message, from.port, from.address);
    });
    undo.defer(() => udp.close());
  }
  return { peers, datagrams, [Symbol.dispose]: () => undo.dispose() };
}
