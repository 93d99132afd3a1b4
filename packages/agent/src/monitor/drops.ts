import { messageWithCauses } from '@causeway/daemon';
import { identityName, NumericIdentity } from '@causeway/identity';
import { type PolicyEngine, PolicyError, protocolName } from '@causeway/policy';
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
  /** Whether the engine has every policy: it has none for a moment after a start. */
  readonly complete: () => boolean;
  readonly endpoints: EndpointTable;
  /** What the cluster knows of an address: `shop/web-0`, a node's name. */
  readonly nameOf: (address: string) => string | undefined;
  readonly now: () => number;
}

/** Why a packet fared so; `isOpen` if what that speaks of is not known here, which after a start it soon is. */
interface Reason {
  readonly text: string;
  readonly isOpen: boolean;
}

interface Kept {
  readonly event: DatapathEvent;
  readonly explained: ExplainedEvent;
  readonly isOpen: boolean;
}

/** Turns packets' fates into sentences, and keeps the last drops. */
export class Explainer {
  readonly #options: ExplainerOptions;
  readonly #recent: Kept[] = [];
  #second = 0;
  #explained = 0;

  constructor(options: ExplainerOptions) {
    this.#options = options;
  }

  /** The last drops, newest first. What could not be explained when it came is explained by what is known now. */
  recent(): readonly ExplainedEvent[] {
    this.#recent.forEach(({ event, explained: { time }, isOpen }, index) => {
      if (!isOpen) return;
      const reason = this.#reason(event);
      const explained = this.#sentence(event, time, reason);
      this.#recent[index] = { event, explained, isOpen: reason?.isOpen ?? false };
    });
    return this.#recent.map(({ explained }) => explained).reverse();
  }

  /** For whoever watches: a reason that is not known yet is left out. */
  explain(event: DatapathEvent): ExplainedEvent {
    const reason = this.#isFlood(event) ? undefined : this.#reason(event);
    const isOpen = reason?.isOpen ?? false;
    const time = new Date(this.#options.now()).toISOString();
    const explained = this.#sentence(event, time, isOpen ? undefined : reason);
    if (event.type === 'drop') {
      this.#recent.push({ event, explained, isOpen });
      if (this.#recent.length > KEEP) this.#recent.shift();
    }
    return explained;
  }

  #sentence(event: DatapathEvent, time: string, reason: Reason | undefined): ExplainedEvent {
    const because = reason?.text;
    return {
      ...event,
      time,
      text: `${event.type === 'drop' ? 'dropped' : event.type}: ${this.#flow(event)}: ${event.sentence}${because === undefined ? '' : ` (${because})`}`,
      ...(because === undefined ? {} : { because }),
    };
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

  /** Whether the engine has been asked about enough packets of this second. */
  #isFlood(event: DatapathEvent): boolean {
    if (event.rule !== 0 || !event.reason.startsWith('policy')) return false;
    const second = Math.floor(this.#options.now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#explained = 0;
    }
    return this.#explained++ >= EXPLAINED_PER_SECOND;
  }

  #reason(event: DatapathEvent): Reason | undefined {
    if (event.rule !== 0) {
      const name = this.#options.engine.rule(event.rule)?.name;
      if (name !== undefined) return { text: name, isOpen: false };
      return { text: `rule ${event.rule}, which is gone by now`, isOpen: true };
    }
    return event.reason.startsWith('policy') ? this.#missingAllow(event) : undefined;
  }

  #missingAllow(event: DatapathEvent): Reason | undefined {
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
      return { text: answer[direction].text, isOpen: !this.#options.complete() };
    } catch (error) {
      const isOpen = error instanceof PolicyError && error.code === 'unknown-party';
      return { text: messageWithCauses(error), isOpen };
    }
  }
}

/** A reserved name, the prefix of a node-local identity, or the number. */
export function nameOfIdentity(engine: PolicyEngine, identity: number): string {
  const prefix = identity >>> 24 === 1 ? engine.identities.get(identity)?.prefix : undefined;
  return prefix ?? identityName(NumericIdentity(identity));
}
