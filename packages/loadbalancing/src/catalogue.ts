import type { Endpoint, Service, ServiceRef } from './model.ts';
import { serviceName } from './model.ts';
import { type EndpointSlice, endpointsOfPods, type ServingPod } from './parse-endpoints.ts';

/** Service → backend → what its health check says against it. */
export type Failing = ReadonlyMap<string, ReadonlyMap<string, string>>;

/**
 * Services, slices and pods as they are now, with the one question that matters: which services does
 * a change touch?
 */
export class Catalogue {
  readonly #resolveSelectors: boolean;
  readonly #services = new Map<string, Service>();
  /** Names of services with a selector, by namespace. */
  readonly #selecting = new Map<string, Set<string>>();
  readonly #slices = new Map<string, EndpointSlice>();
  /** service → names of its slices. */
  readonly #slicesOf = new Map<string, Set<string>>();
  readonly #pods = new Map<string, Map<string, ServingPod>>();
  /** node → service → backend → what its health check says against it. */
  readonly #failing = new Map<string, Failing>();
  /** Services to look at again. */
  readonly #touched = new Set<string>();

  constructor(resolveSelectors: boolean) {
    this.#resolveSelectors = resolveSelectors;
  }

  get services(): ReadonlyMap<string, Service> {
    return this.#services;
  }

  /** Names of the services touched since the last call. */
  takeTouched(): string[] {
    const touched = [...this.#touched];
    this.#touched.clear();
    return touched;
  }

  setService(service: Service): void {
    const name = serviceName(service);
    this.#services.set(name, service);
    member(this.#selecting, service.namespace, name, service.selector !== undefined);
    this.#touched.add(name);
  }

  deleteService(ref: ServiceRef): void {
    const name = serviceName(ref);
    if (!this.#services.delete(name)) return;
    member(this.#selecting, ref.namespace, name, false);
    this.#touched.add(name);
  }

  setSlice(slice: EndpointSlice): void {
    this.deleteSlice(slice);
    if (slice.service === undefined) return;
    const key = serviceName(slice);
    const service = serviceName(slice.service);
    this.#slices.set(key, slice);
    member(this.#slicesOf, service, key, true);
    this.#touched.add(service);
  }

  deleteSlice(ref: ServiceRef): void {
    const key = serviceName(ref);
    const known = this.#slices.get(key);
    if (known?.service === undefined) return;
    const service = serviceName(known.service);
    this.#slices.delete(key);
    member(this.#slicesOf, service, key, false);
    this.#touched.add(service);
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
      const selected = pods.some(
        (pod) => pod && wanted.every(([key, value]) => pod.labels[key] === value),
      );
      if (selected) this.#touched.add(name);
    }
  }

  /** All that a node has to say against backends; a node has a say about those that run on it only. */
  setFailing(node: string, failing: Failing): void {
    const before = this.#failing.get(node);
    for (const name of new Set([...(before?.keys() ?? []), ...failing.keys()])) {
      if (!sameEntries(before?.get(name), failing.get(name))) this.#touched.add(name);
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

  /** Who serves the service: its slices, or the pods that it selects where that is our business. */
  endpointsOf(service: Service): Endpoint[] {
    if (this.#resolveSelectors && service.selector !== undefined) {
      return endpointsOfPods(service, this.#pods.get(service.namespace)?.values() ?? []);
    }
    const slices = this.#slicesOf.get(serviceName(service)) ?? [];
    return [...slices].flatMap((key) => this.#slices.get(key)?.endpoints ?? []);
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
