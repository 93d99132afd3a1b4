import { codeOf, type Log, messageWithCauses, type RecordStore } from '@causeway/daemon';
import type { Attachment, AttachRequest, Endpoint, LatencySummary } from '../api/types.ts';
import { AgentError } from '../errors.ts';
import { KeyedQueue } from '../keyed-queue.ts';
import { LatencyRing } from '../latency.ts';
import { adoptedInterface } from './adopted.ts';
import { differencesOf } from './differences.ts';
import type { EndpointKernel, PodNamespace } from './kernel.ts';
import { hostIfnameOf, macsOf } from './names.ts';
import type {
  AddressPool,
  EndpointEnforcement,
  EndpointIdentities,
  EndpointIdentity,
  EndpointPrograms,
  PodReference,
} from './ports.ts';
import { attachmentKey, type EndpointRecord, inForce, type Step } from './record.ts';
import { podInterface, podReference } from './record-views.ts';
import { type EndpointRow, type EndpointTable, toApi } from './table.ts';

export interface EndpointManagerOptions {
  readonly node: string;
  readonly table: EndpointTable;
  readonly state: RecordStore<EndpointRecord>;
  readonly kernel: EndpointKernel;
  readonly programs: EndpointPrograms;
  readonly enforcement: EndpointEnforcement;
  readonly identities: EndpointIdentities;
  readonly addresses: AddressPool;
  readonly podMtu: () => number;
  /** Throws `not-ready` while pods cannot be served. */
  readonly assertReady: () => void;
  readonly maxEndpoints: number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly log: Log;
}

/**
 * The life of endpoints: ADD, DEL, CHECK, GC. One attachment is worked on by one request at a time;
 * different ones go side by side. Every step that leaves something behind is preceded by a durable
 * record, and every step back is idempotent, so that a failure, a crash or a repeated request ends in
 * the same place.
 */
export class EndpointManager {
  readonly #options: EndpointManagerOptions;
  readonly #queue = new KeyedQueue();
  readonly #adds = new LatencyRing();
  readonly #dels = new LatencyRing();
  #lastId = 0;

  constructor(options: EndpointManagerOptions) {
    this.#options = options;
  }

  get latency(): { add: LatencySummary; del: LatencySummary } {
    return { add: this.#adds.summary(), del: this.#dels.summary() };
  }

  /** Resolves when no request is under way. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  list(): Endpoint[] {
    return Array.from(this.#options.table.rows(), toApi);
  }

  attach(request: AttachRequest): Promise<{ endpoint: Endpoint; created: boolean }> {
    return this.#measured(this.#adds, attachmentKey(request), () => this.#attach(request));
  }

  detach(attachment: Attachment): Promise<{ removed: boolean }> {
    return this.#measured(this.#dels, attachmentKey(attachment), async () => {
      const row = this.#find(attachment);
      if (row === undefined) return { removed: false };
      await this.removeRecord(row.record);
      return { removed: true };
    });
  }

  check(request: AttachRequest): Promise<Endpoint> {
    return this.#queue.run(attachmentKey(request), async () => {
      const row = this.#find(request);
      if (row === undefined) {
        throw new AgentError(
          'not-found',
          `no endpoint for container ${request.containerId} interface ${request.ifname}`,
          {
            field: 'containerId',
            value: request.containerId,
            hint: 'add it again',
          },
        );
      }
      const wrong =
        row.state === 'ready'
          ? differencesOf(this.#options, row.record, request.netns)
          : [`the endpoint is ${row.state}`];
      if (wrong.length > 0) {
        throw new AgentError('check-failed', `endpoint ${row.record.id}: ${wrong.join('; ')}`, {
          field: 'containerId',
          value: request.containerId,
          hint: 'remove the attachment and add it again',
        });
      }
      return toApi(row);
    });
  }

  /** Removes every endpoint that is not among the valid attachments. */
  async collectGarbage(valid: readonly Attachment[]): Promise<{ removed: Attachment[] }> {
    const keep = new Set(valid.map(attachmentKey));
    const removed: Attachment[] = [];
    for (const { record } of [...this.#options.table.rows()]) {
      if (keep.has(attachmentKey(record))) continue;
      const result = await this.detach(record);
      if (result.removed) removed.push({ containerId: record.containerId, ifname: record.ifname });
    }
    return { removed };
  }

  patch(id: number, change: { policyAudit?: boolean | undefined }): Promise<Endpoint> {
    return this.change(id, (record) => ({
      ...record,
      policyAudit: change.policyAudit ?? record.policyAudit,
    }));
  }

  /** A pod's labels, identity or ports are known now, or others. */
  relabel(id: number, identity: EndpointIdentity): Promise<Endpoint> {
    return this.change(id, (record) => ({
      ...record,
      ...identity,
      namedPorts: [...identity.namedPorts],
    }));
  }

  /** @throws AgentError `not-found`. */
  async change(id: number, how: (record: EndpointRecord) => EndpointRecord): Promise<Endpoint> {
    const seen = this.#options.table.get(id);
    if (seen === undefined) throw noSuchEndpoint(id);
    return this.#queue.run(attachmentKey(seen.record), async () => {
      const row = this.#options.table.get(id);
      if (row === undefined) throw noSuchEndpoint(id);
      const record = how(row.record);
      await this.#options.state.write(String(id), record);
      // The row in the table comes first: what the enforcement writes of it is then the new one.
      this.#options.table.put(this.#withState(row, record));
      this.#enforce(record, row);
      return toApi(this.#options.table.get(id)!);
    });
  }

  /** Nothing of the endpoint passes until it is resumed: another has its addresses. */
  stop(id: number, stopped: string): Promise<Endpoint> {
    return this.change(id, (record) => ({ ...record, stopped }));
  }

  resume(id: number): Promise<Endpoint> {
    return this.change(id, ({ stopped: _, ...record }) => record);
  }

  /** Makes an endpoint the one that has its addresses, or the silent one. */
  handOver(id: number, standby: boolean): Promise<Endpoint> {
    return this.change(id, ({ standby: _, ...record }) =>
      standby ? { ...record, standby } : record,
    );
  }

  #withState(row: EndpointRow, record: EndpointRecord): EndpointRow {
    const { stateReason, ...rest } = row;
    if (record.stopped !== undefined && row.state === 'ready') {
      return { ...rest, record, state: 'error', stateReason: record.stopped };
    }
    if (record.stopped === undefined && row.record.stopped !== undefined && row.state === 'error') {
      return { ...rest, record, state: 'ready' };
    }
    return { ...row, record };
  }

  /** Brings the kernel to what the record says now, after what the row said before. */
  #enforce(record: EndpointRecord, before: EndpointRow): void {
    const { enforcement, kernel, table } = this.#options;
    const was = before.state === 'ready' && inForce(before.record);
    const is = table.get(record.id)?.state === 'ready' && inForce(record);
    if (is) {
      enforcement.put(record);
      if (!was) kernel.raise(record.hostIfindex);
    } else if (was) enforcement.remove(record);
  }

  /** Takes everything of a record out of the kernel, the pool, the directory and the table, in this order. */
  async removeRecord(record: EndpointRecord): Promise<void> {
    const { table, state, programs, enforcement, identities, addresses, kernel } = this.#options;
    const deleting: EndpointRecord = { ...record, step: 'deleting' };
    await state.write(String(record.id), deleting);
    if (table.has(record.id)) table.put({ record: deleting, state: 'deleting' });
    enforcement.remove(record);
    programs.detach(record.hostIfname);
    if (!record.chained) await kernel.removeInterface(record.hostIfname);
    await state.remove(String(record.id));
    addresses.release(record);
    identities.release(podReference(record));
    table.delete(record.id);
  }

  /** Puts a restored record in force; the manager gives no id of a restored endpoint again. */
  adopt(record: EndpointRecord): void {
    this.#lastId = Math.max(this.#lastId, record.id);
    this.#options.table.put({ record, state: 'restoring' });
    const { programs } = this.#options;
    // Loading the programs put the new ones in place of the old already, where there were any.
    if (!programs.attached(record.hostIfname, record.hostIfindex)) {
      programs.attach(record.hostIfname, record.hostIfindex);
    }
    if (record.stopped !== undefined) {
      this.fail(record, record.stopped);
      return;
    }
    if (inForce(record)) {
      this.#options.enforcement.put(record);
      this.#options.kernel.raise(record.hostIfindex);
    }
    this.#options.table.update(record.id, (row) => row && { ...row, state: 'ready' });
  }

  /** Shows an endpoint as broken; what there is of it stays until it is removed. */
  fail(record: EndpointRecord, stateReason: string): void {
    this.#options.table.put({ record, state: 'error', stateReason });
  }

  async #attach(request: AttachRequest): Promise<{ endpoint: Endpoint; created: boolean }> {
    this.#options.assertReady();
    using namespace = this.#options.kernel.openNamespace(request.netns);
    const present = this.#find(request);
    if (present !== undefined) {
      if (present.state === 'ready' && this.#stands(present.record, namespace)) {
        return { endpoint: toApi(present), created: false };
      }
      // The container was started anew under its old name, or an earlier try broke off.
      await this.removeRecord(present.record);
    }
    if (this.#options.table.size >= this.#options.maxEndpoints) {
      throw new AgentError(
        'busy',
        `the node has ${this.#options.table.size} endpoints, as many as limits.endpoints allows`,
        {
          field: 'limits.endpoints',
          value: this.#options.maxEndpoints,
          hint: 'raise limits.endpoints',
        },
      );
    }
    const { kernel } = this.#options;
    let record = await this.#newRecord(request, namespace);
    try {
      this.#options.table.put({ record, state: 'creating' });
      await this.#options.state.write(String(record.id), record);
      const who = await this.#options.identities.resolve(podReference(record));
      record = { ...record, ...who, namedPorts: [...who.namedPorts] };
      if (!record.chained)
        record = { ...record, ...kernel.createInterface(namespace, podInterface(record)) };
      this.#options.programs.attach(record.hostIfname, record.hostIfindex);
      this.#options.table.put({ record, state: 'creating' });
      if (inForce(record)) this.#options.enforcement.put(record);
      record = { ...record, step: 'ready' };
      await this.#options.state.write(String(record.id), record);
      if (inForce(record)) this.#options.kernel.raise(record.hostIfindex);
      this.#options.table.update(record.id, (row) => row && { ...row, record, state: 'ready' });
    } catch (cause) {
      await this.#undo(record, cause);
      if (cause instanceof AgentError) throw cause;
      throw new AgentError(
        'attach-failed',
        `cannot attach ${request.ifname} of container ${request.containerId} (${codeOf(cause)})`,
        {
          hint: 'nothing was left behind; try again once the cause is gone',
          cause,
        },
      );
    }
    return { endpoint: toApi(this.#options.table.get(record.id)!), created: true };
  }

  async #newRecord(request: AttachRequest, namespace: PodNamespace): Promise<EndpointRecord> {
    const { containerId, ifname } = request;
    const { node, addresses, podMtu, identities } = this.#options;
    const found = adoptedInterface(this.#options.kernel, request, namespace);
    const macs = macsOf(node, containerId, ifname);
    const id = this.#nextId();
    const pod: PodReference = {
      endpointId: id,
      podNamespace: request.podNamespace,
      podName: request.podName,
      podUid: request.podUid,
      callerLabels: { ...request.labels },
    };
    await identities.appear(pod);
    const given =
      found === undefined
        ? await addresses.allocate({ containerId, ifname }, pod)
        : { ...found, gateways: {}, standby: false };
    return {
      id,
      step: 'allocated' satisfies Step,
      containerId,
      ifname,
      hostIfname: found?.host.name ?? hostIfnameOf(containerId, ifname),
      hostIfindex: found?.host.index ?? 0,
      netns: request.netns,
      netnsIdentity: namespace.identity,
      addresses: given.addresses,
      gateways: given.gateways,
      mac: found?.mac ?? macs.mac,
      hostMac: found?.host.mac ?? macs.hostMac,
      mtu: found?.mtu ?? request.mtu ?? podMtu(),
      chained: found !== undefined,
      podNamespace: request.podNamespace,
      podName: request.podName,
      podUid: request.podUid,
      callerLabels: { ...request.labels },
      labels: '',
      identity: 0,
      namedPorts: [],
      policyAudit: false,
      ...(given.standby ? { standby: true } : {}),
    };
  }

  /** Still the interface that the record speaks of, in the namespace that the caller means. */
  #stands(record: EndpointRecord, namespace: PodNamespace): boolean {
    return (
      record.netnsIdentity === namespace.identity &&
      this.#options.kernel.hostLink(record.hostIfname)?.index === record.hostIfindex
    );
  }

  async #undo(record: EndpointRecord, cause: unknown): Promise<void> {
    try {
      await this.removeRecord(record);
    } catch (error) {
      // The record stays on disk; a DEL, GC or the next start finishes the work.
      const stateReason = `left behind by a failed ADD: ${messageWithCauses(error)}`;
      this.fail(record, stateReason);
      this.#options.log.error(
        { endpoint: record.id, error: messageWithCauses(error), cause: messageWithCauses(cause) },
        'cannot undo a failed attachment',
      );
    }
  }

  #find(of: Attachment) {
    return this.#options.table.first('attachment', attachmentKey(of));
  }

  /** Ids go round, so that one is used again as late as possible. */
  #nextId(): number {
    const { table } = this.#options;
    for (let tried = 0; tried < 65535; tried++) {
      this.#lastId = (this.#lastId % 65535) + 1;
      if (!table.has(this.#lastId)) return this.#lastId;
    }
    throw new AgentError('busy', 'every endpoint id from 1 to 65535 is in use');
  }

  async #measured<T>(ring: LatencyRing, key: string, work: () => Promise<T>): Promise<T> {
    const start = this.#options.now();
    try {
      const result = await this.#queue.run(key, work);
      ring.record(this.#options.now() - start);
      return result;
    } catch (error) {
      ring.fail();
      throw error;
    }
  }
}

const noSuchEndpoint = (id: number): AgentError =>
  new AgentError('not-found', `there is no endpoint ${id}`, { field: 'id', value: id });
