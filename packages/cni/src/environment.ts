import { CniCode, CniError, shown } from './errors.ts';

export const COMMANDS = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'] as const;
export type Command = (typeof COMMANDS)[number];

/** What a pod is called in `CNI_ARGS`, by Kubernetes' convention. */
export interface PodArgs {
  readonly podNamespace?: string;
  readonly podName?: string;
  readonly podUid?: string;
}

/** The parameters of a call, checked. Those that a command does not take are empty. */
export interface Environment {
  readonly command: Command;
  readonly containerId: string;
  readonly ifname: string;
  /** As the runtime wrote it: it comes back in the result. Empty if none was given. */
  readonly netns: string;
  readonly args: PodArgs;
}

type Variable = 'CNI_CONTAINERID' | 'CNI_IFNAME' | 'CNI_NETNS';
type Need = 'required' | 'optional';

/** Section 2 of the specification, "CNI operations": what each command takes. */
const TAKES: Readonly<Record<Command, Partial<Record<Variable | 'CNI_ARGS', Need>>>> = {
  ADD: {
    CNI_CONTAINERID: 'required',
    CNI_NETNS: 'required',
    CNI_IFNAME: 'required',
    CNI_ARGS: 'optional',
  },
  CHECK: {
    CNI_CONTAINERID: 'required',
    CNI_NETNS: 'required',
    CNI_IFNAME: 'required',
    CNI_ARGS: 'optional',
  },
  // DEL must go through also with arguments that ADD would refuse, so it does not look at them.
  DEL: { CNI_CONTAINERID: 'required', CNI_IFNAME: 'required', CNI_NETNS: 'optional' },
  GC: {},
  STATUS: {},
  VERSION: {},
};

/** 64 hexadecimal digits is what runtimes use; 200 keeps it inside a file name. */
const CONTAINER_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$/;
/** What the kernel takes (dev_valid_name): 1 to 15 bytes without '/', ':' or white space, not '.' or '..'. */
const IFNAME = /^(?!\.{1,2}$)[^/:\s]{1,15}$/;

export const isContainerId = (value: unknown): value is string =>
  typeof value === 'string' && CONTAINER_ID.test(value);
export const isIfname = (value: unknown): value is string =>
  typeof value === 'string' && IFNAME.test(value) && Buffer.byteLength(value) <= 15;

const RULES: Readonly<Record<Variable, { ok: (value: string) => boolean; want: string }>> = {
  CNI_CONTAINERID: {
    ok: isContainerId,
    want: '1 to 200 of [A-Za-z0-9_.-], starting with a letter or digit',
  },
  CNI_IFNAME: { ok: isIfname, want: '1 to 15 bytes without "/", ":" or white space' },
  CNI_NETNS: {
    ok: (value) => value.startsWith('/') && value.length <= 4096 && !/[\0\n]/.test(value),
    want: 'an absolute path',
  },
};

/** Throws CniError 4 that names every variable that is wrong. */
export function parseEnvironment(env: Readonly<Record<string, string | undefined>>): Environment {
  const command = env.CNI_COMMAND ?? '';
  if (!(COMMANDS as readonly string[]).includes(command)) {
    throw invalid([`CNI_COMMAND is ${shown(command)}, not one of ${COMMANDS.join(', ')}`]);
  }
  const takes = TAKES[command as Command];
  const problems: string[] = [];
  const read = (name: Variable): string => {
    const value = env[name] ?? '';
    const need = takes[name];
    if (need === undefined) return '';
    if (value === '' && need === 'required') problems.push(`${name} is missing`);
    else if (value !== '' && !RULES[name].ok(value)) {
      problems.push(`${name} is ${shown(value)}, not ${RULES[name].want}`);
    }
    return value;
  };
  const containerId = read('CNI_CONTAINERID');
  const ifname = read('CNI_IFNAME');
  const netns = read('CNI_NETNS');
  const args = takes.CNI_ARGS === undefined ? {} : parseArgs(env.CNI_ARGS ?? '', problems);
  if (problems.length > 0) throw invalid(problems);
  return { command: command as Command, containerId, ifname, netns, args };
}

const POD_ARGS = {
  K8S_POD_NAMESPACE: 'podNamespace',
  K8S_POD_NAME: 'podName',
  K8S_POD_UID: 'podUid',
  K8S_POD_INFRA_CONTAINER_ID: undefined,
} as const;

/** "K=V;K=V". Keys that nobody here knows are refused unless IgnoreUnknown says otherwise, as CNI's library does. */
function parseArgs(text: string, problems: string[]): PodArgs {
  if (text === '') return {};
  if (text.length > 8192) {
    problems.push(`CNI_ARGS has ${text.length} characters, more than 8192`);
    return {};
  }
  const pairs = text.split(';').filter((pair) => pair !== '');
  const values = new Map<string, string>();
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals < 1) problems.push(`CNI_ARGS holds ${shown(pair)}, which is no KEY=VALUE`);
    else values.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  const ignoreText = values.get('IgnoreUnknown') ?? 'false';
  if (!/^(1|0|t|f|true|false)$/i.test(ignoreText)) {
    problems.push(`CNI_ARGS IgnoreUnknown is ${shown(ignoreText)}, not a truth value`);
  }
  values.delete('IgnoreUnknown');
  const ignore = /^(1|t|true)$/i.test(ignoreText);
  const found: { podNamespace?: string; podName?: string; podUid?: string } = {};
  for (const [key, value] of values) {
    if (!Object.hasOwn(POD_ARGS, key)) {
      if (!ignore)
        problems.push(`CNI_ARGS key ${shown(key)} is unknown and IgnoreUnknown is not set`);
      continue;
    }
    const field = POD_ARGS[key as keyof typeof POD_ARGS];
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,252}$/.test(value)) {
      problems.push(`CNI_ARGS ${key} is ${shown(value)}, not a name`);
    } else if (
      field !== undefined &&
      (field === 'podUid' ? value.length <= 128 : isPodName(value))
    ) {
      found[field] = value;
    }
  }
  return isPod(values) ? found : {};
}

/**
 * A Pod has a namespace and a name. Podman gives only a name, its container's (4.3), or the same as both, and no
 * UID, which runtimes of Kubernetes give: there is no Pod resource to wait for then.
 */
function isPod(values: ReadonlyMap<string, string>): boolean {
  const namespace = values.get('K8S_POD_NAMESPACE');
  const name = values.get('K8S_POD_NAME');
  if (namespace === undefined || name === undefined) return false;
  return values.has('K8S_POD_UID') || namespace !== name;
}

/**
 * Podman puts its own container names here (`nifty_hopper`). A name that no Pod resource can have is no reason to
 * refuse the container: it only has no labels to look up.
 */
const isPodName = (value: string): boolean => /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(value);

function invalid(problems: readonly string[]): CniError {
  return new CniError(
    CniCode.invalidEnvironment,
    `invalid environment variables: ${problems.join('; ')}`,
    'The container runtime sets these; see section 2 of the CNI specification.',
  );
}
