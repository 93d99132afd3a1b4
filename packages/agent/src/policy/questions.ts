import {
  isReserved,
  LabelSet,
  NumericIdentity,
  parseLabel,
  RESERVED,
  reservedId,
} from '@causeway/identity';
import { Address, Prefix } from '@causeway/ip';
import type { Party, PolicyEngine, Trace } from '@causeway/policy';
import type { FlowEnd, TraceBody } from '../api/schemas.ts';
import { type ClusterTables, type NodeRow, nodeAt } from '../cluster/tables.ts';
import type { EndpointTable } from '../endpoints/table.ts';
import { AgentError } from '../errors.ts';
import { nodeLabelsOf } from '../host-endpoint/controller.ts';
import { type LabelSources, labelsOf } from '../identity/pod-labels.ts';
import type { IpcacheResolver } from '../ipcache/resolve.ts';

export interface QuestionContext {
  /** This node, with its endpoint if it is one itself. */
  readonly node: { readonly name: string; readonly endpoint: () => number | undefined };
  readonly engine: PolicyEngine;
  readonly endpoints: EndpointTable;
  readonly cluster: ClusterTables;
  readonly labels: LabelSources;
  readonly ipcache: IpcacheResolver;
}

/** Answers `policy trace`; the ends are found as people name them. */
export function answerTrace(
  body: TraceBody,
  context: QuestionContext,
): Trace & { allowed: boolean } {
  const { from, to } = amongOwn(
    partyOf(body.from, 'from', context),
    partyOf(body.to, 'to', context),
    context,
  );
  const answer = context.engine.trace({
    from,
    to,
    protocol:
      body.protocol === undefined
        ? 'TCP'
        : /^\d+$/.test(body.protocol)
          ? Number(body.protocol)
          : body.protocol,
    port: body.port ?? 0,
  });
  return { ...answer, allowed: answer.verdict !== 'deny' };
}

/**
 * `17` (an endpoint), `node` (this one, if it is an endpoint), `shop/web-0`, `10.0.0.7`, `10.0.0.0/8`, `world` and the other entities, or
 * labels such as `k8s:app=web,k8s:io.kubernetes.pod.namespace=shop`.
 */
function partyOf(end: FlowEnd, field: string, context: QuestionContext): Party {
  if (typeof end !== 'string') {
    if (end.endpoint !== undefined) return { endpoint: end.endpoint };
    if (end.identity !== undefined) return { identity: end.identity };
    if (end.labels !== undefined)
      return { labels: LabelSet.of(end.labels.map((text) => parseLabel(text, 'k8s'))) };
    const text = end.pod ?? end.address;
    if (text !== undefined) return partyOf(text, field, context);
    throw unknown(field, end);
  }
  if (/^[1-9]\d{0,4}$/.test(end)) return { endpoint: Number(end) };
  const host = context.node.endpoint();
  if (host !== undefined && (end === 'node' || end === `node/${context.node.name}`))
    return { endpoint: host };
  const entity = reservedId(end.replace(/^reserved:/, ''));
  if (entity !== undefined) return { identity: entity };
  const address = Address.tryParse(end);
  if (address !== undefined) return partyOfAddress(address, context);
  if (Prefix.tryParse(end) !== undefined) return { cidr: end };
  if (end.includes('=') || end.includes(':')) {
    return { labels: LabelSet.of(end.split(',').map((text) => parseLabel(text.trim(), 'k8s'))) };
  }
  return partyOfPod(end.includes('/') ? end : `default/${end}`, field, context);
}

function partyOfAddress(address: Address, context: QuestionContext): Party {
  const { cluster, endpoints, ipcache, labels, node } = context;
  const local = endpoints.first('address', address);
  if (local !== undefined) return { endpoint: local.record.id };
  const host = node.endpoint();
  const holder = nodeAt(cluster.nodes, address, labels.cluster);
  if (host !== undefined && holder !== undefined && isOwn(holder, context))
    return { endpoint: host };
  const known = ipcache.resolve(Prefix.host(address));
  if (known === undefined || known.identity === 0) return { cidr: address };
  const { identity } = known;
  // A node of this cluster that is an endpoint: policies for nodes bind it by its Node's labels.
  return holder === undefined ||
    isReserved(NumericIdentity(identity)) ||
    holder.cluster !== labels.cluster
    ? { identity }
    : { identity, nodeLabels: nodeLabelsOf(holder.labels) };
}

/**
 * Between this node and its own pods, as the programs have it: to the pods it is `host`, whatever identity others know
 * it by, and what it sends them its own policy does not judge.
 */
function amongOwn(from: Party, to: Party, { node }: QuestionContext): { from: Party; to: Party } {
  const host = node.endpoint();
  const isHost = (party: Party) => 'endpoint' in party && party.endpoint === host;
  const isPod = (party: Party) => 'endpoint' in party && party.endpoint !== host;
  if (isHost(from) && isPod(to)) return { from: { identity: RESERVED.host }, to };
  if (host !== undefined && isPod(from) && isHost(to))
    return { from, to: { endpoint: host, as: RESERVED.host } };
  return { from, to };
}

const isOwn = (holder: NodeRow, { node, labels }: QuestionContext): boolean =>
  holder.name === node.name && holder.cluster === labels.cluster;

function partyOfPod(pod: string, field: string, { endpoints, labels }: QuestionContext): Party {
  const local = endpoints.first('pod', pod);
  if (local !== undefined) return { endpoint: local.record.id };
  const [podNamespace = '', podName = ''] = pod.split('/');
  const known = labelsOf({ endpointId: 0, podNamespace, podName, callerLabels: {} }, labels);
  if (known.type === 'known') return { labels: known.labels };
  throw unknown(field, pod);
}

const unknown = (field: string, value: unknown): AgentError =>
  new AgentError('bad-request', `${field}: nobody here is ${JSON.stringify(value)}`, {
    field,
    value,
    hint: 'name an endpoint id, namespace/pod, node, an address or CIDR, an entity such as world, or labels such as k8s:app=web',
  });

/** `identity 12 (k8s:app=web)`: rows of /v1/identities. */
export function identityRows({ cluster, engine }: QuestionContext): unknown[] {
  const rows = new Map<number, unknown>();
  for (const [id, view] of engine.identities) {
    rows.set(id, {
      id,
      labels: view.labels.toStrings(),
      ...(view.prefix === undefined ? {} : { prefix: view.prefix }),
    });
  }
  for (const { id, cluster: from, labels } of cluster.identities.rows()) {
    rows.set(id, { id: NumericIdentity(id), cluster: from, labels: labels.toStrings() });
  }
  return [...rows.values()];
}
