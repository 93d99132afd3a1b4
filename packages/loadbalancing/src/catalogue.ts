import type { Address } from '@causeway/ip';
import { type ByAddress, byAddress, changedAddresses } from './by-address.ts';
import type { Remote } from './derive.ts';
import type { Endpoint, RemotePart, Service, ServiceRef } from './model.ts';
import { serviceName } from './model.ts';
import { type EndpointSlice, endpointsOfPods, type ServingPod } from './parse-endpoints.ts';
import { type PartChange, type PartKey, RemoteParts } from './remote-parts.ts';

/** Service → backend → what its health check says against it. */
export type Failing = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** What changed about services since they were looked at last. */
export interface Touched {
  /** Look at the whole of them. */
  readonly services: ReadonlySet<string>;
  /** Of the others, which addresses may be served otherwise. */
  readonly addresses: ReadonlyMap<string, ReadonlySet<Address>>;
}

interface KnownSlice {
  readonly service: string;
  readonly endpoints: ByAddress;
}

/**
 * Services, slices and pods as they are now, and what other clusters say, with the one question that matters: which
 * services, and which of their addresses, does a change touch?
 */
export class Catalogue {
  readonly #resolveSelectors: boolean;
  readonly #services = new Map<string, Service>();
  /** Names of services with a selector, by namespace. */
  readonly #selecting = new Map<string, Set<string>>();
  readonly #slices = new Map<string, KnownSlice>();
  /** service → names of its slices. */
  readonly #slicesOf = new Map<string, Set<string>>();
  readonly #pods = new Map<string, Map<string, ServingPod>>();
  /** node → service → backend → what its health check says against it. */
  readonly #failing = new Map<string, Failing>();
  readonly #remote = new RemoteParts();
  #touched = new Set<string>();
  #addresses = new Map<string, Set<Address>>();

  constructor(resolveSelectors: boolean) {
    this.#resolveSelectors = resolveSelectors;
  }

  get services(): ReadonlyMap<string, Service> {
    return this.#services;
  }

  /** What was touched since the last call. */
  takeTouched(): Touched {
    const touched = { services: this.#touched, addresses: this.#addresses };
    this.#touched = new Set();
    this.#addresses = new Map();
    return touched;
  }

  /** Looks at the whole of a service again. */
  touch(service: string): void {
    this.#touch(service, 'all');
  }

  #touch(service: string, what: PartChange): void {
    if (this.#touched.has(service) || what.length === 0) return;
    if (what === 'all') {
      this.#touched.add(service);
      this.#addresses.delete(service);
      return;
    }
    const addresses = this.#addresses.get(service) ?? new Set<Address>();
    for (const each of what) addresses.add(each);
    this.#addresses.set(service, addresses);
  }

  setService(service: Service): void {
    const name = serviceName(service);
    this.#services.set(name, service);
    member(this.#selecting, service.namespace, name, service.selector !== undefined);
    this.#touch(name, 'all');
  }

  deleteService(ref: ServiceRef): void {
    const name = serviceName(ref);
    if (!this.#services.delete(name)) return;
    member(this.#selecting, ref.namespace, name, false);
    this.#touch(name, 'all');
  }

  setSlice(slice: EndpointSlice): void {
    const key = serviceName(slice);
    const service = slice.service && serviceName(slice.service);
    const known = this.#slices.get(key);
    if (known !== undefined && known.service !== service) this.deleteSlice(slice);
    if (service === undefined) return;
    const endpoints = byAddress(slice.endpoints);
    const before = this.#slices.get(key)?.endpoints ?? new Map();
    this.#slices.set(key, { service, endpoints });
    member(this.#slicesOf, service, key, true);
    this.#touch(service, changedAddresses(before, endpoints));
  }

  deleteSlice(ref: ServiceRef): void {
    const key = serviceName(ref);
    const known = this.#slices.get(key);
    if (known === undefined) return;
    const { service, endpoints } = known;
    this.#slices.delete(key);
    member(this.#slicesOf, service, key, false);
    this.#touch(service, [...endpoints.keys()]);
  }

  setRemote(part: RemotePart): void {
    this.#touch(serviceName(part), this.#remote.set(part));
  }

  deleteRemote(key: PartKey): void {
    this.#touch(serviceName(key), this.#remote.delete(key));
  }

  /** What the other clusters say of a service, or of some addresses; nothing of one that is not global. */
  remoteOf(service: Service, addresses?: ReadonlySet<Address>): Remote {
    return service.mesh.global ? this.#remote.of(serviceName(service), addresses) : new Map();
  }

  setPod(pod: ServingPod): void {
    const pods = this.#pods.get(pod.namespace) ?? new Map<string, ServingPod>();
    this.#touchSelecting(pod.namespace, [pod, pods.get(pod.name)]);
    this.#pods.set(pod.namespace, pods.set(pod.name, pod));
  }

  deletePod({ namespace, name }: ServiceRef): void {
    const pods = this.#pods.get(namespace);
    this.#touchSelecting(namespace, [pods?.get(name)]);
    pods?.delete(name);
    if (pods?.size === 0) this.#pods.delete(namespace);
  }

  #touchSelecting(namespace: string, pods: readonly (ServingPod | undefined)[]): void {
    if (!this.#resolveSelectors) return;
    for (const name of this.#selecting.get(namespace) ?? []) {
      const wanted = Object.entries(this.#services.get(name)?.selector ?? {});
      const selected = pods.filter(
        (pod) => pod !== undefined && wanted.every(([key, value]) => pod.labels[key] === value),
      );
      this.#touch(
        name,
        selected.flatMap((pod) => pod!.addresses),
      );
    }
  }

  /** All that a node has to say against backends; a node has a say about those that run on it only. */
  setFailing(node: string, failing: Failing): void {
    const before = this.#failing.get(node);
    for (const name of new Set([...(before?.keys() ?? []), ...failing.keys()])) {
      if (!sameEntries(before?.get(name), failing.get(name))) this.#touch(name, 'all');
    }
    if (failing.size === 0) this.#failing.delete(node);
    else this.#failing.set(node, failing);
  }

  failingOf(service: Service): (backend: string, node: string | undefined) => string | undefined {
    if (service.healthCheck === undefined) return () => undefined;
    const name = serviceName(service);
    return (backend, node) =>
      node === undefined ? undefined : this.#failing.get(node)?.get(name)?.get(backend);
  }

  /**
   * Who serves the service: its slices, or the pods that it selects where that is our business. With addresses: only
   * what is known of these.
   */
  endpointsOf(service: Service, addresses?: ReadonlySet<Address>): Endpoint[] {
    if (this.#resolveSelectors && service.selector !== undefined) {
      const pods = this.#pods.get(service.namespace)?.values() ?? [];
      if (addresses === undefined) return endpointsOfPods(service, pods);
      const named = [...pods].filter((pod) => pod.addresses.some((each) => addresses.has(each)));
      return endpointsOfPods(service, named).filter(({ address }) => addresses.has(address));
    }
    // By name: of two that name one backend the same one counts on every node, whichever came first.
    const slices = [...(this.#slicesOf.get(serviceName(service)) ?? [])].sort();
    return slices.flatMap((key) => {
      const endpoints = this.#slices.get(key)!.endpoints;
      const wanted = addresses ?? endpoints.keys();
      return [...wanted].flatMap((address) => endpoints.get(address) ?? []);
    });
  }
}

/** Puts a member into the set under a key or takes it out; empty sets do not stay. */
function member<K, V>(map: Map<K, Set<V>>, key: K, value: V, present: boolean): void {
  const set = map.get(key) ?? new Set();
  if (present) set.add(value);
  else set.delete(value);
  if (set.size === 0) map.delete(key);
  else map.set(key, set);
}

function sameEntries(
  a: ReadonlyMap<string, string> | undefined,
  b: ReadonlyMap<string, string> | undefined,
): boolean {
  if (a?.size !== b?.size) return false;
  return [...(a ?? [])].every(([key, value]) => b?.get(key) === value);
}
