import { constants } from 'node:os';

/** Why the kernel, or this package before it, said no. */
export type LinuxErrorCode =
  | 'unsupported'
  | 'program-refused'
  | 'map-full'
  | 'map-incompatible'
  | 'layout-mismatch'
  | 'bad-object'
  | 'not-found'
  | 'exists'
  | 'denied'
  | 'busy'
  | 'invalid-argument'
  | 'no-memory'
  | 'closed'
  | 'timeout'
  | 'netlink-malformed'
  | 'system';

export interface LinuxErrorDetails {
  readonly operation: string;
  /** Positive errno when the kernel gave one. */
  readonly errno?: number | undefined;
  readonly value?: unknown;
  readonly cause?: unknown;
}

/** Any failure of this package. `operation` says what was tried, `value` on what. */
export class LinuxError extends Error {
  override readonly name: string = 'LinuxError';
  readonly code: LinuxErrorCode;
  readonly operation: string;
  readonly errno: number | undefined;
  readonly errnoName: string | undefined;
  readonly value: unknown;

  constructor(code: LinuxErrorCode, message: string, details: LinuxErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.operation = details.operation;
    this.errno = details.errno;
    this.errnoName = details.errno === undefined ? undefined : errnoName(details.errno);
    this.value = details.value;
  }
}

/** The kernel, or a simulated one, has no such feature. */
export class UnsupportedError extends LinuxError {
  override readonly name: string = 'UnsupportedError';
  readonly feature: string;
  /** The release that brought the feature: "Linux 6.6". */
  readonly needs: string;

  constructor(feature: string, needs: string, cause?: unknown) {
    super('unsupported', `this kernel has no ${feature}: it needs ${needs} or later`, {
      operation: 'probe',
      value: feature,
      cause,
    });
    this.feature = feature;
    this.needs = needs;
  }
}

/** The verifier refused a program. */
export class VerifierError extends LinuxError {
  override readonly name: string = 'VerifierError';
  readonly program: string;
  /** Everything that the verifier wrote. */
  declare readonly log: string;
  /** The lines of it that say why. */
  readonly summary: string;

  constructor(program: string, summary: string, log: string, errno: number) {
    super(
      'program-refused',
      `the kernel refused BPF program ${program} (${errnoName(errno)}):\n${summary}`,
      {
        operation: 'load program',
        errno,
        value: program,
      },
    );
    this.program = program;
    this.summary = summary;
    // Not enumerable: printing the error must not print megabytes.
    Object.defineProperty(this, 'log', { value: log });
  }
}

/** One rtnetlink request failed. The message has the kernel's own words where it gave some. */
export class NetlinkError extends LinuxError {
  override readonly name: string = 'NetlinkError';
  readonly request: string;
  readonly kernelText: string | undefined;
  readonly attribute: string | undefined;

  constructor(
    request: string,
    errno: number,
    kernelText: string | undefined,
    attribute: string | undefined,
  ) {
    const why = kernelText ?? errnoText(errno);
    const where = attribute === undefined ? '' : ` (attribute ${attribute})`;
    super(codeOfErrno(errno), `netlink ${request}: ${why}${where}: ${errnoName(errno)}`, {
      operation: request,
      errno,
    });
    this.request = request;
    this.kernelText = kernelText;
    this.attribute = attribute;
  }
}

/** Some requests of one batch failed; those not listed took effect. */
export class NetlinkBatchError extends LinuxError {
  override readonly name: string = 'NetlinkBatchError';
  readonly failures: readonly { readonly index: number; readonly error: NetlinkError }[];

  constructor(failures: readonly { readonly index: number; readonly error: NetlinkError }[]) {
    const first = failures[0]?.error;
    super(
      first?.code ?? 'system',
      `${failures.length} netlink requests failed: ${failures.map((f) => f.error.message).join('; ')}`,
      { operation: 'netlink batch', errno: first?.errno, cause: first },
    );
    this.failures = failures;
  }
}

/** A batch on a map stopped half way: `applied` entries were done. */
export class MapBatchError extends LinuxError {
  override readonly name: string = 'MapBatchError';
  readonly applied: number;

  constructor(map: string, operation: string, errno: number, applied: number) {
    super(
      mapCode(errno),
      `${operation} of BPF map ${map} stopped after ${applied} entries: ${errnoText(errno)}: ${errnoName(errno)}`,
      { operation, errno, value: map },
    );
    this.applied = applied;
  }
}

// ENOTSUPP is the kernel's own and has no name in libc; EAGAIN and EOPNOTSUPP share their numbers
// with lesser known names.
const names = new Map<number, string>([
  [11, 'EAGAIN'],
  [95, 'EOPNOTSUPP'],
  [524, 'ENOTSUPP'],
]);
for (const [name, number] of Object.entries(constants.errno)) {
  if (!names.has(number)) names.set(number, name);
}

const texts: Readonly<Record<number, string>> = {
  1: 'operation not permitted',
  2: 'not found',
  3: 'no such process or entry',
  4: 'interrupted',
  7: 'too many entries',
  11: 'try again',
  12: 'out of memory',
  13: 'permission denied',
  16: 'busy',
  17: 'exists already',
  19: 'no such device',
  22: 'invalid argument',
  28: 'no space left',
  95: 'not supported',
  99: 'address not available',
  100: 'the network is down',
  101: 'network unreachable',
  105: 'no buffer space',
  113: 'no route to the gateway',
  524: 'not supported',
};

/** "ENOSPC" for 28; "errno 4001" for what has no name. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

function errnoText(errno: number): string {
  return texts[errno] ?? 'failed';
}

/** The one place where an errno becomes a code. */
export function codeOfErrno(errno: number): LinuxErrorCode {
  switch (errno) {
    case 1:
    case 13:
      return 'denied';
    case 2:
    case 3:
    case 6:
    case 19:
    case 99:
      return 'not-found';
    case 11:
    case 16:
      return 'busy';
    case 12:
      return 'no-memory';
    case 17:
      return 'exists';
    case 22:
    case 34:
      return 'invalid-argument';
    case 95:
    case 524:
      return 'unsupported';
    case 110:
      return 'timeout';
    default:
      return 'system';
  }
}

function mapCode(errno: number): LinuxErrorCode {
  return errno === 7 || errno === 28 ? 'map-full' : codeOfErrno(errno);
}

/** An error of a system or libbpf call. `errno` may come negative, as libbpf gives it. */
export function callError(operation: string, errno: number, value?: unknown): LinuxError {
  const positive = Math.abs(errno);
  const on = value === undefined ? '' : ` ${String(value)}`;
  return new LinuxError(
    codeOfErrno(positive),
    `${operation}${on}: ${errnoText(positive)}: ${errnoName(positive)}`,
    { operation, errno: positive, value },
  );
}

/** As callError, for updates of a map: E2BIG and ENOSPC mean that it is full. */
export function mapError(operation: string, errno: number, map: string): LinuxError {
  const positive = Math.abs(errno);
  const code = mapCode(positive);
  const why = code === 'map-full' ? 'the map is full' : errnoText(positive);
  return new LinuxError(code, `${operation} BPF map ${map}: ${why}: ${errnoName(positive)}`, {
    operation,
    errno: positive,
    value: map,
  });
}

export function invalidArgument(operation: string, message: string, value?: unknown): LinuxError {
  return new LinuxError('invalid-argument', `${operation}: ${message}`, { operation, value });
}
