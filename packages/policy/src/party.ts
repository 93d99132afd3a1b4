import {
  identityName,
  LABEL_KEYS,
  LABEL_SOURCES,
  type LabelSet,
  NumericIdentity,
  RESERVED,
} from '@causeway/identity';
import { Prefix } from '@causeway/ip';
import type { PolicyEngine } from './engine.ts';
import type { IdentityView } from './identity-view.ts';
import type { PolicySetSpec } from './policy-set.ts';
import { PolicyError } from './refusal.ts';

/** One end of a question: an endpoint of this node, a number, labels, or an address. */
export type Party =
  | {
      readonly endpoint: number;
      /** The identity that the other side knows it by, if that is not its own. */
      readonly as?: number | undefined;
    }
  | {
      readonly identity: number;
      /** Of its Node, if it is a node that is an endpoint itself. */
      readonly nodeLabels?: LabelSet | undefined;
    }
  | { readonly labels: LabelSet }
  /** An address or prefix outside the cluster. Addresses of pods are the caller's to look up. */
  | { readonly cidr: string };

/** A party, looked up. */
export interface Side {
  /** As the other side's rules see it. */
  readonly view: IdentityView;
  /** No identity has these labels yet; entries for it have to be worked out. */
  readonly stranger: boolean;
  /** What its own policy hangs on; absent for who is not a pod of this cluster. */
  readonly subject: PolicySetSpec | undefined;
  /** For people. */
  readonly text: string;
}

/** Numbers for identities that do not exist; the kernel's scopes never reach here. */
export const FIRST_STRANGER = 0xffff_0000;

/** @param index keeps two strangers of one question apart. */
export function resolveParty(engine: PolicyEngine, party: Party, index: number): Side {
  if ('endpoint' in party) {
    const known = engine.endpoints.get(party.endpoint);
    if (known === undefined) {
      throw new PolicyError('unknown-party', party, `no endpoint ${party.endpoint} on this node`);
    }
    const { identity: own, labels } = known.endpoint;
    const identity = party.as ?? own;
    return {
      view: engine.identities.get(identity) ?? engine.view(identity, labels),
      stranger: !engine.identities.has(identity),
      subject: known.set.spec,
      text: describe(labels, own),
    };
  }
  if ('identity' in party) {
    const view = engine.identities.get(party.identity);
    if (view === undefined) {
      throw new PolicyError('unknown-party', party, `no identity ${party.identity} is known`);
    }
    const side = known(engine, view);
    const { nodeLabels } = party;
    const subject = side.subject && { ...side.subject, nodeLabels };
    return nodeLabels === undefined ? side : { ...side, subject };
  }
  if ('labels' in party) {
    const view = engine.identityOf(party.labels);
    return view ? known(engine, view) : stranger(engine, party.labels, index);
  }
  const prefix = readPrefix(party);
  const view = engine.outside(prefix) ?? engine.identities.get(RESERVED.world);
  if (view === undefined)
    throw new PolicyError('unknown-party', party, 'nothing is known of world');
  return { view, stranger: false, subject: undefined, text: party.cidr };
}

function known(engine: PolicyEngine, view: IdentityView): Side {
  return {
    view,
    stranger: false,
    subject: subjectOf(engine, view),
    text: describe(view.labels, view.id),
  };
}

function stranger(engine: PolicyEngine, labels: LabelSet, index: number): Side {
  const view = engine.view(FIRST_STRANGER + index, labels);
  return { view, stranger: true, subject: subjectOf(engine, view), text: describe(labels) };
}

function readPrefix(party: { readonly cidr: string }): Prefix {
  try {
    return Prefix.parseLoose(party.cidr);
  } catch (error) {
    const { message } = error as Error;
    throw new PolicyError('invalid-query', party.cidr, `cidr: ${message}`);
  }
}

/** Pods of this cluster are bound by the policies known here, wherever they run; nobody else is. */
function subjectOf(engine: PolicyEngine, { id, labels }: IdentityView): PolicySetSpec | undefined {
  const namespace = labels.get(LABEL_KEYS.podNamespace);
  if (namespace?.source !== LABEL_SOURCES.k8s) return undefined;
  const cluster = labels.get(LABEL_KEYS.cluster);
  if (cluster !== undefined && cluster.value !== engine.settings.cluster) return undefined;
  return { labels, namedPorts: engine.portsOf(id), audit: false };
}

/** `app=web in shop`, `host`, `10.0.0.0/8`: short, yet enough to recognise. */
export function describe(labels: LabelSet, id?: number): string {
  const namespace = labels.get(LABEL_KEYS.podNamespace);
  if (namespace?.source === LABEL_SOURCES.k8s) {
    const own = [...labels]
      .filter((each) => each.source === LABEL_SOURCES.k8s && !each.key.startsWith('io.'))
      .map((each) => `${each.key}=${each.value}`);
    return `${own.join(',') || 'pod'} in ${namespace.value}`;
  }
  if (id !== undefined && id < 256) return identityName(NumericIdentity(id));
  return labels.toStrings().join(',') || `identity ${id}`;
}
