import { Address } from '@causeway/ip';
import { type CommandResult, run } from '../host/process.ts';
import type { LabContext } from './context.ts';

/**
 * What became of one try, seen from the client:
 * answered, refused at once (RST or ICMP unreachable), or silence until the time was up.
 */
export interface TrafficResult {
  readonly outcome: 'answered' | 'refused' | 'timeout' | 'unreachable' | 'failed';
  /** What came back, without the line's end. */
  readonly answer: string;
  /** The client program's own words. */
  readonly detail: string;
  readonly milliseconds: number;
}

export interface TrafficOptions {
  /** How long a client waits before it calls silence a time-out. */
  readonly seconds?: number;
  readonly signal?: AbortSignal;
}

const ANSWER_SECONDS = 5;

/** Between the answers of `ASK_AGAIN`. */
const RECORD = '\x1e';
/** Runs its arguments, but for the first, so often, with a request as input; one process of the lab for all of them. */
const ASK_AGAIN = `
left=$1; shift
while [ $left -gt 0 ]; do
  left=$((left - 1))
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | "$@" || exit 1
  printf '\\036'
done`;

/** socat and nc wait out their time after an answer; this one ends with it, and knows refusals. */
const UDP_CLIENT = `
const [address, port, say, seconds, connected] = process.argv.slice(1);
const socket = require('node:dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4');
const end = (code, words) => { if (words) console.error(words); process.exit(code); };
socket.on('error', (error) => end(1, error.code === 'ECONNREFUSED' ? 'Connection refused' : error.message));
socket.on('message', (data) => { process.stdout.write(data.toString()); end(0); });
setTimeout(() => end(1, 'timed out'), seconds * 1000);
if (connected === 'true') socket.connect(Number(port), address, (error) => error ? socket.emit('error', error) : socket.send(say + '\\n'));
else socket.send(say + '\\n', Number(port), address);`;

/** Clients of the field, run in a place: socat, busybox ping, and one of our own for UDP. */
export class Traffic {
  readonly #context: LabContext;

  constructor(context: LabContext) {
    this.#context = context;
  }

  /** GET / of an HTTP server; the answer is the body. */
  async http(
    from: string,
    address: string,
    port: number,
    options: TrafficOptions = {},
  ): Promise<TrafficResult> {
    const argv = socat(address, port, options.seconds ?? 2);
    const result = await this.#try(from, argv, 'GET / HTTP/1.0\r\n\r\n', options);
    const body = result.answer.indexOf('\r\n\r\n');
    return { ...result, answer: body < 0 ? result.answer : result.answer.slice(body + 4) };
  }

  /**
   * Who answers at an address when asked so often, each time on a connection of its own: what HTTP servers gave, each
   * once, in order. An attempt that fails ends it and stands there by its outcome.
   */
  async answers(
    from: string,
    address: string,
    port: number,
    count: number,
  ): Promise<readonly string[]> {
    const prefix = this.#context.prefix(this.#context.find(from));
    const argv = [
      'busybox',
      'sh',
      '-c',
      ASK_AGAIN,
      'sh',
      String(count),
      ...socat(address, port, 2),
    ];
    const result = await run([...prefix, ...argv], { timeoutMs: (count * 2 + 20) * 1000 });
    const bodies = result.stdout.split(RECORD).slice(0, -1);
    const seen = new Set(bodies.map((text) => text.split('\r\n\r\n')[1]?.trimEnd() ?? text));
    if (result.code !== 0) seen.add(judge({ ...result, stdout: '' }, 0).outcome);
    return [...seen].sort();
  }

  /** Connects, sends a line, and gives what comes until the server has said all. */
  tcp(
    from: string,
    address: string,
    port: number,
    options: TrafficOptions & { readonly say?: string } = {},
  ): Promise<TrafficResult> {
    const argv = socat(address, port, options.seconds ?? 2);
    return this.#try(from, argv, `${options.say ?? ''}\n`, options);
  }

  /** Sends one datagram with a line, on a connected socket or by sendmsg, and waits for one back. */
  udp(
    from: string,
    address: string,
    port: number,
    options: TrafficOptions & { readonly say?: string; readonly connected?: boolean } = {},
  ): Promise<TrafficResult> {
    const seconds = options.seconds ?? 2;
    const argv = [
      process.execPath,
      '-e',
      UDP_CLIENT,
      address,
      String(port),
      options.say ?? 'hello',
    ];
    return this.#try(
      from,
      [...argv, String(seconds), String(options.connected ?? true)],
      '',
      options,
    );
  }

  /** One ICMP or ICMPv6 echo. */
  ping(
    from: string,
    address: string,
    options: TrafficOptions & { readonly size?: number } = {},
  ): Promise<TrafficResult> {
    const size = options.size === undefined ? [] : ['-s', String(options.size)];
    return this.#try(
      from,
      ['busybox', 'ping', '-c', '1', '-W', String(options.seconds ?? 1), ...size, address],
      '',
      options,
    );
  }

  async #try(
    from: string,
    argv: readonly string[],
    input: string,
    options: TrafficOptions,
  ): Promise<TrafficResult> {
    const prefix = this.#context.prefix(this.#context.find(from));
    const start = performance.now();
    const result = await run([...prefix, ...argv], {
      input,
      timeoutMs: ((options.seconds ?? 2) + 10) * 1000,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    return judge(result, performance.now() - start);
  }
}

/** The programs' words are theirs since many years; what none of these fits is `failed` with the words kept. */
export function judge(result: CommandResult, milliseconds: number): TrafficResult {
  const detail = `${result.stderr}${result.code === 0 ? '' : result.stdout}`.trim();
  const answer = result.stdout.trimEnd();
  return { outcome: outcomeOf(result, answer, detail), answer, detail, milliseconds };
}

function outcomeOf(
  result: CommandResult,
  answer: string,
  detail: string,
): TrafficResult['outcome'] {
  if (/refused|not permitted/i.test(detail)) return 'refused';
  if (/unreachable|no route/i.test(detail)) return 'unreachable';
  if (/timed out|timeout|100% packet loss/i.test(detail)) return 'timeout';
  if (result.code === 0) return answer === '' ? 'timeout' : 'answered';
  // A reader that got nothing until its time was up says nothing.
  return detail === '' ? 'timeout' : 'failed';
}

/**
 * `seconds` are for the connection, which kernels make by themselves. A server is a program that waits for a
 * processor: its answer has longer, and silence is known by the connection that did not come about.
 */
function socat(address: string, port: number, seconds: number): string[] {
  const target = `TCP:${bracketed(address)}:${port},connect-timeout=${seconds}`;
  const patience = String(Math.max(seconds, ANSWER_SECONDS));
  return ['socat', '-t', patience, '-T', patience, '-', target];
}

function bracketed(address: string): string {
  return Address.tryParse(address)?.includes(':') ? `[${address}]` : address;
}
