import { messageWithCauses } from '@causeway/daemon';
import { identityName, NumericIdentity } from '@causeway/identity';
import { type PolicyEngine, protocolName } from '@causeway/policy';
import type { DatapathEvent } from '../datapath/ports.ts';
import { type EndpointTable, podText } from '../endpoints/table.ts';

const KEEP = 256;
/** Explaining a policy drop asks the engine; a flood of them is explained by its first ones. */
const EXPLAINED_PER_SECOND = 50;

export interface ExplainedEvent extends DatapathEvent {
  readonly time: string;
  /** The tuple, the ends and the reason in one line. */
  readonly text: string;
  /** The rule that decided, or the allow that is missing. */
  readonly because?: string;
}

export interface ExplainerOptions {
  readonly engine: PolicyEngine;
  readonly endpoints: EndpointTable;
  /** What the cluster knows of an address: `shop/web-0`, a node's name. */
  readonly nameOf: (address: string) => string | undefined;
  readonly now: () => number;
}

/** Turns packets' fates into sentences, and keeps the last drops. */
export class Explainer {
  readonly #options: ExplainerOptions;
  readonly #recent: ExplainedEvent[] = [];
  #second = 0;
  #explained = 0;

  constructor(options: ExplainerOptions) {
    this.#options = options;
  }

  /** The last drops, newest first. */
  recent(): readonly ExplainedEvent[] {
    return this.#recent.toReversed();
  }

  explain(event: DatapathEvent): ExplainedEvent {
    const because = this.#because(event);
    const explained: ExplainedEvent = {
      ...event,
      time: new Date(this.#options.now()).toISOString(),
      text: `${event.type === 'drop' ? 'dropped' : event.type}: ${this.#flow(event)}: ${event.sentence}${because === undefined ? '' : ` (${because})`}`,
      ...(because === undefined ? {} : { because }),
    };
    if (event.type === 'drop') {
      this.#recent.push(explained);
      if (this.#recent.length > KEEP) this.#recent.shift();
    }
    return explained;
  }

  #flow(event: DatapathEvent): string {
    const { source, destination, sourcePort, destinationPort, protocol, icmpType } = event;
    const icmp = protocol === 1 || protocol === 58;
    const traffic = icmp ? `${protocolName(protocol)} type ${icmpType}` : protocolName(protocol);
    const from = this.#end(source, event.sourceIdentity, icmp ? undefined : sourcePort);
    const to = this.#end(
      destination,
      event.destinationIdentity,
      icmp ? undefined : destinationPort,
    );
    return `${from} -> ${to} ${traffic}`;
  }

  #end(address: string, identity: number, port: number | undefined): string {
    const shown =
      port === undefined
        ? address
        : address.includes(':')
          ? `[${address}]:${port}`
          : `${address}:${port}`;
    const local = this.#options.endpoints.first('address', address);
    const name = local === undefined ? this.#options.nameOf(address) : podText(local.record);
    const who =
      name ?? (identity === 0 ? undefined : nameOfIdentity(this.#options.engine, identity));
    return who === undefined ? shown : `${shown} (${who})`;
  }

  #because(event: DatapathEvent): string | undefined {
    const { engine } = this.#options;
    if (event.rule !== 0)
      return engine.rule(event.rule)?.name ?? `rule ${event.rule}, which is gone by now`;
    if (!event.reason.startsWith('policy')) return undefined;
    const second = Math.floor(this.#options.now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#explained = 0;
    }
    if (this.#explained++ >= EXPLAINED_PER_SECOND) return undefined;
    return this.#missingAllow(event);
  }

  #missingAllow(event: DatapathEvent): string | undefined {
    const { engine } = this.#options;
    const { direction, sourceIdentity, destinationIdentity, endpoint } = event;
    if (direction === 'transit' || endpoint === 0) return undefined;
    const own = { endpoint };
    const peer = { identity: direction === 'egress' ? destinationIdentity : sourceIdentity };
    try {
      const icmp = event.protocol === 1 || event.protocol === 58;
      const answer = engine.trace({
        from: direction === 'egress' ? own : peer,
        to: direction === 'egress' ? peer : own,
        protocol: event.protocol,
        port: icmp ? event.icmpType : event.destinationPort,
      });
      return answer[direction].text;
    } catch (error) {
      return messageWithCauses(error);
    }
  }
}

/** A reserved name, the prefix of a node-local identity, or the number. */
export function nameOfIdentity(engine: PolicyEngine, identity: number): string {
  const prefix = identity >>> 24 === 1 ? engine.identities.get(identity)?.prefix : undefined;
  return prefix ?? identityName(NumericIdentity(identity));
}
