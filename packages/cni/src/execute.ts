import { AgentClient, type AttachBody, type Patience } from './agent.ts';
import { type NetworkConfig, parseConfig, parseDeletionConfig, versionText } from './config.ts';
import {
  deletionsDirectory,
  forgetDeletion,
  isDeletionRecorded,
  recordDeletion,
} from './deletions.ts';
import { type Command, type Environment, parseEnvironment } from './environment.ts';
import { CniCode, CniError } from './errors.ts';
import { attachmentIn, formatResult, parsePrevResult, resultOf } from './result.ts';
import { type AgentTransport, Unreachable } from './transport.ts';
import { isSupported, NEWEST_VERSION, rulesOf, SUPPORTED_VERSIONS } from './versions.ts';

/** A call as the runtime made it, nothing checked yet. */
export interface CniCall {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly config: string;
  /**
   * A path under which the agent can open the container's namespace, whatever mount namespace the agent lives
   * in: `/proc/PID/fd/N` of a process that holds it open. Missing: CNI_NETNS itself.
   */
  readonly netnsHandle?: string;
  /** How long the caller has waited for the agent already, in milliseconds. */
  readonly waitedMs?: number;
}

export interface CniOutcome {
  readonly exitCode: 0 | 1;
  /** What goes to standard output: JSON, or nothing. */
  readonly stdout: string;
  /** For the log: what was asked and what came of it. */
  readonly summary: string;
  /** The log file that the configuration asks for. */
  readonly log?: string;
}

/** What a call needs from outside. */
export interface Surroundings {
  transport(agentSocket: string): AgentTransport;
  /** An identity of the namespace behind a path; undefined if there is none. */
  netnsIdentity(path: string): string | undefined;
  readonly nodeNetns: string;
  readonly clock: Omit<Patience, 'waitMs'> & { readonly wall: () => Date };
}

interface Call {
  readonly environment: Environment;
  readonly config: NetworkConfig;
  readonly netns: string;
  readonly agent: AgentClient;
  readonly surroundings: Surroundings;
}

type Handler = (call: Call) => Promise<Record<string, unknown> | undefined>;

/** Answers one call of the plugin. Never rejects: every failure is an outcome in CNI's form. */
export async function execute(call: CniCall, surroundings: Surroundings): Promise<CniOutcome> {
  let summary = String(call.environment.CNI_COMMAND ?? 'no command').slice(0, 16);
  let log: string | undefined;
  try {
    const environment = parseEnvironment(call.environment);
    const { command, containerId, ifname } = environment;
    summary = [command, containerId, ifname].filter((part) => part !== '').join(' ');
    if (command === 'VERSION') return { exitCode: 0, stdout: versions(call.config), summary };
    const config = readConfig(command, call.config);
    log = config.log;
    needsVersion(command, config);
    const agent = new AgentClient(surroundings.transport(config.agentSocket), {
      ...surroundings.clock,
      waitMs: config.agentWaitSeconds * 1000 - (call.waitedMs ?? 0),
    });
    const netns = call.netnsHandle ?? environment.netns;
    const answer = await HANDLERS[command]({ environment, config, netns, agent, surroundings });
    const stdout = answer === undefined ? '' : JSON.stringify(answer);
    return { exitCode: 0, stdout, summary: `${summary}: done`, ...(log && { log }) };
  } catch (error) {
    const { code, message, details } =
      error instanceof CniError
        ? error
        : new CniError(CniCode.agentFailed, `causeway-cni failed: ${String(error)}`);
    const asked = versionText(call.config);
    const stdout = JSON.stringify({
      cniVersion: isSupported(asked) ? asked : NEWEST_VERSION,
      code,
      msg: message,
      ...(details === '' ? {} : { details }),
    });
    return {
      exitCode: 1,
      stdout,
      summary: `${summary}: error ${code}, ${message}`,
      ...(log && { log }),
    };
  }
}

const HANDLERS: Readonly<Record<Exclude<Command, 'VERSION'>, Handler>> = {
  async ADD(call) {
    const { environment, config, netns, agent, surroundings } = call;
    mustBeForeign(environment, netns, surroundings);
    const before = config.prevResult && parsePrevResult(config.prevResult);
    const existing = before && attachmentIn(before, environment.ifname);
    const body = attachBody(environment, config, netns);
    await finishDeletion(call);
    if (config.chained) {
      const hostIfname = existing?.hostIfnames.at(-1);
      if (before === undefined || existing === undefined || hostIfname === undefined) {
        throw new CniError(
          CniCode.invalidConfig,
          `chained is true, but prevResult has no interface ${environment.ifname} with a host side`,
          'Put causeway-cni after the plugin that makes the interface, or drop "chained".',
        );
      }
      await agent.attach({ ...body, chained: { hostIfname, addresses: existing.addresses } });
      return formatResult(before, config.cniVersion);
    }
    if (existing !== undefined) {
      throw new CniError(
        CniCode.interfaceExists,
        `a plugin before causeway-cni made ${environment.ifname} already`,
        'Set "chained": true to enforce on that interface, or take the other plugin out.',
      );
    }
    const endpoint = await agent.attach(body);
    const result = resultOf(endpoint, environment.ifname, environment.netns, before, config.dns);
    return formatResult(result, config.cniVersion);
  },

  async CHECK({ environment, config, netns, agent, surroundings }) {
    mustBeForeign(environment, netns, surroundings);
    if (config.prevResult === undefined) {
      throw new CniError(
        CniCode.invalidConfig,
        'CHECK came without prevResult',
        'The runtime must hand in the result of ADD.',
      );
    }
    const expected = attachmentIn(parsePrevResult(config.prevResult), environment.ifname);
    if (expected === undefined) {
      throw new CniError(
        CniCode.checkFailed,
        `prevResult has no interface ${environment.ifname} in a container`,
      );
    }
    const hostIfname = expected.hostIfnames.at(-1);
    const endpoint = await agent.check({
      ...attachBody(environment, config, netns),
      ...(config.chained && hostIfname !== undefined
        ? { chained: { hostIfname, addresses: expected.addresses } }
        : {}),
    });
    for (const family of ['ipv4', 'ipv6'] as const) {
      const given = endpoint.addresses[family];
      if (given === expected.addresses[family] || given === undefined) continue;
      throw new CniError(
        CniCode.checkFailed,
        `the ${family} address is ${given}, where prevResult says ${expected.addresses[family]}`,
      );
    }
    return undefined;
  },

  async DEL({ environment, config, agent, surroundings }) {
    const directory = deletionsDirectory(config.agentSocket);
    const detach = async () => {
      try {
        await agent.detach(environment);
        return true;
      } catch (error) {
        if (error instanceof Unreachable) return false;
        throw error;
      }
    };
    if (await detach()) {
      forgetDeletion(directory, environment);
      return undefined;
    }
    const requestedAt = surroundings.clock.wall().toISOString();
    const { containerId, ifname, netns } = environment;
    recordDeletion(directory, { containerId, ifname, netns, requestedAt });
    // An agent that came up between the two and read the directory too early is asked once more.
    if (await detach().catch(() => false)) forgetDeletion(directory, environment);
    return undefined;
  },

  async GC({ config, agent }) {
    if (config.validAttachments === undefined) {
      // Taking a missing list for an empty one would take the network from every pod on the node.
      throw new CniError(
        CniCode.invalidConfig,
        'GC came without cni.dev/valid-attachments',
        'The runtime must list the attachments that are still valid.',
      );
    }
    await agent.collectGarbage(config.validAttachments);
    return undefined;
  },

  async STATUS({ agent }) {
    try {
      const reasons = await agent.whyNotReady();
      if (reasons.length === 0) return undefined;
      throw new CniError(
        CniCode.notAvailable,
        'the Causeway agent cannot attach pods now',
        reasons.join('; '),
      );
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      // 50, not 51: the datapath outlives the agent, so pods that run keep their network.
      throw new CniError(CniCode.notAvailable, error.message, 'Start the Causeway agent.', error);
    }
  },
};

function readConfig(command: Command, text: string): NetworkConfig {
  try {
    return parseConfig(text);
  } catch (error) {
    if (command !== 'DEL') throw error;
    return parseDeletionConfig(text);
  }
}

function attachBody(environment: Environment, config: NetworkConfig, netns: string): AttachBody {
  const { containerId, ifname, args } = environment;
  return {
    containerId,
    ifname,
    netns,
    ...args,
    cniVersion: config.cniVersion,
    ...(config.mtu === undefined ? {} : { mtu: config.mtu }),
  };
}

/**
 * A deletion that still waits is of an earlier life of this attachment: it comes first, or it would meet the new
 * one. An agent that is away replays it before it takes our request.
 */
async function finishDeletion({ environment, config, agent }: Call): Promise<void> {
  const directory = deletionsDirectory(config.agentSocket);
  if (!isDeletionRecorded(directory, environment)) return;
  try {
    await agent.detach(environment);
    forgetDeletion(directory, environment);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
  }
}

function mustBeForeign(environment: Environment, netns: string, around: Surroundings): void {
  const identity = around.netnsIdentity(netns);
  if (identity === undefined) {
    throw new CniError(
      CniCode.unknownContainer,
      `there is no network namespace at CNI_NETNS ${environment.netns}`,
      'The container is gone, or its runtime names another place.',
    );
  }
  if (identity !== around.nodeNetns) return;
  throw new CniError(
    CniCode.invalidEnvironment,
    `CNI_NETNS ${environment.netns} is the network namespace of the node itself`,
    'Give the container a network namespace of its own.',
  );
}

/** Section 2 of the specification: CHECK came with 0.4.0, STATUS and GC with 1.1.0. */
function needsVersion(command: Command, { cniVersion }: NetworkConfig): void {
  const rules = rulesOf(cniVersion);
  const missing =
    command === 'CHECK'
      ? !rules.check
      : (command === 'GC' || command === 'STATUS') && !rules.statusAndGc;
  if (!missing) return;
  throw new CniError(
    CniCode.incompatibleVersion,
    `${command} is not part of cniVersion ${cniVersion}`,
    `Set cniVersion to ${command === 'CHECK' ? '0.4.0' : '1.1.0'} or later.`,
  );
}

function versions(config: string): string {
  const cniVersion = versionText(config) ?? NEWEST_VERSION;
  return JSON.stringify({ cniVersion, supportedVersions: SUPPORTED_VERSIONS });
}
