import type { Attachment } from './config.ts';
import { CniCode, CniError, shown } from './errors.ts';
import type { AttachedEndpoint, FamilyAddresses } from './result.ts';
import { type AgentAnswer, type AgentTransport, Unreachable } from './transport.ts';

/** Body of `POST /v1/endpoints` and `POST /v1/endpoints/check`. */
export interface AttachBody {
  readonly containerId: string;
  readonly netns: string;
  readonly ifname: string;
  readonly podNamespace?: string;
  readonly podName?: string;
  readonly podUid?: string;
  readonly cniVersion?: string;
  readonly mtu?: number;
  readonly chained?: { readonly hostIfname: string; readonly addresses: FamilyAddresses };
}

/** How long to wait for an agent that is not ready yet, and how time passes. */
export interface Patience {
  readonly waitMs: number;
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

/** Codes of the agent's refusals and what they are in CNI; what is not listed goes by its HTTP status. */
const BY_CODE: Readonly<Record<string, CniCode>> = {
  'bad-request': CniCode.invalidConfig,
  'netns-missing': CniCode.unknownContainer,
  'netns-is-node': CniCode.invalidEnvironment,
  'not-found': CniCode.unknownContainer,
  'interface-exists': CniCode.interfaceExists,
  'interface-missing': CniCode.checkFailed,
  'check-failed': CniCode.checkFailed,
  timeout: CniCode.tryAgainLater,
};

/** The agent's API as the plugin needs it. Throws CniError; `Unreachable` only where it says so. */
export class AgentClient {
  readonly #transport: AgentTransport;
  readonly #patience: Patience;

  constructor(transport: AgentTransport, patience: Patience) {
    this.#transport = transport;
    this.#patience = patience;
  }

  async attach(body: AttachBody): Promise<AttachedEndpoint> {
    return endpoint(await this.#patiently('POST', '/v1/endpoints', body));
  }

  async check(body: AttachBody): Promise<AttachedEndpoint> {
    return endpoint(await this.#patiently('POST', '/v1/endpoints/check', body));
  }

  /** Throws Unreachable when the agent cannot be asked now. */
  async detach({ containerId, ifname }: Attachment): Promise<void> {
    const path = `/v1/endpoints/by-container/${containerId}/${encodeURIComponent(ifname)}`;
    const answer = await this.#transport('DELETE', path);
    if (answer.status === 404) return;
    if (answer.status === 503 || answer.status === 504) {
      throw new Unreachable('its socket', `it answered ${answer.status}`);
    }
    accept(answer);
  }

  async collectGarbage(validAttachments: readonly Attachment[]): Promise<void> {
    await this.#patiently('POST', '/v1/gc', { validAttachments });
  }

  /** Reasons why an ADD would fail now; none if it would not. Throws Unreachable. */
  async whyNotReady(): Promise<string[]> {
    const { body } = accept(await this.#transport('GET', '/v1/status'));
    const cni = (body as { cni?: { ready?: unknown; reasons?: unknown } } | null)?.cni;
    if (typeof cni?.ready !== 'boolean') throw nonsense('GET /v1/status', body);
    if (cni.ready) return [];
    const reasons = Array.isArray(cni.reasons) ? cni.reasons.map(String) : [];
    return reasons.length > 0 ? reasons : ['the agent gives no reason'];
  }

  /** Asks again while the agent is starting or briefly unable, as long as patience lasts. */
  async #patiently(method: 'POST', path: string, body: unknown): Promise<AgentAnswer> {
    const { waitMs, now, sleep } = this.#patience;
    const until = now() + waitMs;
    for (let pause = 25; ; pause = Math.min(pause * 2, 400)) {
      let problem: CniError;
      let wanted = pause;
      try {
        const answer = await this.#transport(method, path, body);
        if (answer.status !== 503) return accept(answer);
        problem = refusal(answer);
        wanted = (answer.retryAfterSeconds ?? pause / 1000) * 1000;
      } catch (error) {
        if (!(error instanceof Unreachable)) throw error;
        problem = new CniError(
          CniCode.tryAgainLater,
          error.message,
          'Is the Causeway agent running on this node? Its log says more.',
          error,
        );
      }
      if (now() + wanted > until) throw problem;
      await sleep(wanted);
    }
  }
}

function accept(answer: AgentAnswer): AgentAnswer {
  if (answer.status >= 200 && answer.status < 300) return answer;
  throw refusal(answer);
}

function refusal({ status, body }: AgentAnswer): CniError {
  const error = (body as { error?: Record<string, unknown> } | null | undefined)?.error;
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  const code = text(error?.code) ?? '';
  const byStatus =
    status === 503 || status === 504
      ? CniCode.tryAgainLater
      : status === 400 || status === 422
        ? CniCode.invalidConfig
        : CniCode.agentFailed;
  const field = text(error?.field);
  const where = field === undefined ? '' : ` (${field} is ${shown(error?.value)})`;
  return new CniError(
    Object.hasOwn(BY_CODE, code) ? (BY_CODE[code] as CniCode) : byStatus,
    `${text(error?.message) ?? `the agent answered with status ${status}`}${where}`,
    [text(error?.hint), code === '' ? undefined : `Agent's code: ${code}.`]
      .filter((part) => part !== undefined)
      .join(' '),
  );
}

function endpoint({ body }: AgentAnswer): AttachedEndpoint {
  const one = body as Partial<AttachedEndpoint> | null | undefined;
  const strings = [one?.hostIfname, one?.mac, one?.hostMac];
  const families = [one?.addresses, one?.gateways];
  const good =
    strings.every((value) => typeof value === 'string') &&
    typeof one?.mtu === 'number' &&
    families.every((value) => typeof value === 'object' && value !== null) &&
    families.every((value) => [value?.ipv4, value?.ipv6].every(isOptionalString));
  if (!good) throw nonsense('an attachment', body);
  return one as AttachedEndpoint;
}

const isOptionalString = (value: unknown) => value === undefined || typeof value === 'string';

function nonsense(what: string, body: unknown): CniError {
  return new CniError(
    CniCode.agentFailed,
    `the agent's answer to ${what} makes no sense: ${shown(body)}`,
    'Plugin and agent may be of different versions.',
  );
}
