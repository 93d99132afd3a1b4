import type {
  EndpointEnforcement,
  EndpointIdentities,
  EndpointIdentity,
  EndpointPrograms,
  PodReference,
} from '../endpoints/ports.ts';
import type { EndpointRecord } from '../endpoints/record.ts';
import { addressList } from '../endpoints/table.ts';

export { systemClock as realClock } from '@causeway/etcd';

/** Programs that only remember where they are. */
export class FakePrograms implements EndpointPrograms {
  readonly at = new Map<string, number>();
  failNext: Error | undefined;

  attach(hostIfname: string, hostIfindex: number): void {
    const fail = this.failNext;
    this.failNext = undefined;
    if (fail !== undefined) throw fail;
    this.at.set(hostIfname, hostIfindex);
  }
  detach(hostIfname: string): void {
    this.at.delete(hostIfname);
  }
  attached(hostIfname: string, hostIfindex: number): boolean {
    return this.at.get(hostIfname) === hostIfindex;
  }
  devices(): string[] {
    return [...this.at.keys()];
  }
}

/** Enforcement that keeps its rows in memory; refuses two endpoints with one address. */
export class FakeEnforcement implements EndpointEnforcement {
  readonly rows = new Map<string, EndpointRecord>();

  put(record: EndpointRecord): void {
    for (const address of addressList(record)) {
      const holder = this.rows.get(address);
      if (holder !== undefined && holder.id !== record.id) {
        throw new Error(`${address} is given twice: endpoints ${holder.id} and ${record.id}`);
      }
      this.rows.set(address, record);
    }
  }
  remove(record: EndpointRecord): void {
    for (const address of addressList(record)) {
      if (this.rows.get(address)?.id === record.id) this.rows.delete(address);
    }
  }
  differences(record: EndpointRecord): string[] {
    return addressList(record)
      .filter((address) => this.rows.get(address)?.id !== record.id)
      .map((address) => `no row for ${address}`);
  }
}

export class FakeIdentities implements EndpointIdentities {
  readonly released: number[] = [];
  answer: EndpointIdentity = { labels: 'k8s:app=test;', identity: 1000, namedPorts: [] };

  async appear(_pod: PodReference): Promise<void> {}
  async resolve(_pod: PodReference): Promise<EndpointIdentity> {
    return this.answer;
  }
  release(pod: PodReference): void {
    this.released.push(pod.endpointId);
  }
}
