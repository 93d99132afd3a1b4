import type { Address } from '@causeway/ip';
import type { Failing } from './catalogue.ts';
import { type DeriveContext, deriveFrontends } from './derive.ts';
import { LoadBalancingError } from './errors.ts';
import { ServiceIntake } from './intake.ts';
import {
  type Frontend,
  type RemotePart,
  type Service,
  type ServiceRef,
  serviceName,
} from './model.ts';
import type { MapOperation, ServiceRow } from './operations.ts';
import { type BackendChanges, patchFrontends } from './patch.ts';
import { type Assignment, Program } from './program.ts';
import type { PartKey } from './remote-parts.ts';
import { type Choice, type ChoiceQuery, explainChoice } from './why.ts';

export interface BalancerSettings extends DeriveContext {
  /**
   * True where there is no Kubernetes: services with a selector are served by the pods it selects.
   * False: by EndpointSlices. Services without a selector always have slices.
   */
  readonly resolveSelectors: boolean;
  /** Of services with so many backends a few that change are not derived together with all. Default 128. */
  readonly patchFrom?: number;
}

const PATCH_FROM = 128;

/**
 * Services, endpoint slices and pods in; ordered writes to the datapath's maps out. A change costs
 * what the services it touches cost, whatever the number of services.
 */
export class Balancer extends ServiceIntake {
  readonly settings: BalancerSettings;
  readonly #program: Program;
  /** service → its frontends. */
  readonly #frontends = new Map<string, readonly Frontend[]>();
  /** frontend key → services that claim it, the one that holds it first. */
  readonly #claims = new Map<string, string[]>();
  #synced = false;
  /** Services that wait for the other clusters' word; undefined: it has come. */
  #held: Set<string> | undefined = new Set();

  constructor(settings: BalancerSettings, previous?: Assignment) {
    super(settings.resolveSelectors);
    this.settings = settings;
    this.#program = new Program(previous);
  }

  /** What another cluster says of a service, in place of what it said in this part; heard only of global services. */
  applyRemote(part: RemotePart): void {
    this.catalogue.setRemote(part);
  }

  deleteRemote(key: PartKey): void {
    this.catalogue.deleteRemote(key);
  }

  /**
   * What a node's health checks say against backends, by service (`shop/web`) and backend key; it replaces what the
   * node said before. Heard only about backends on that node, of services that have a health check.
   */
  setFailing(node: string, failing: Failing): void {
    this.catalogue.setFailing(node, failing);
  }

  service(ref: ServiceRef): Service | undefined {
    return this.catalogue.services.get(serviceName(ref));
  }

  /** Every service that was taken, in the order in which they came. */
  services(): IterableIterator<Service> {
    return this.catalogue.services.values();
  }

  /**
   * What the other clusters say has been heard once, or is not waited for any longer. Until then global services stay as
   * an earlier run left them: their backends may all be elsewhere.
   */
  markRemoteSynced(): void {
    for (const name of this.#held ?? []) this.catalogue.touch(name);
    this.#held = undefined;
  }

  /** Everything has been listed once: what an earlier run left and nobody claims may go. */
  markSynced(): void {
    this.#synced = true;
  }

  /** The writes that the changes since the last flush ask for, to be applied in order. */
  flush(): MapOperation[] {
    const { services, addresses } = this.catalogue.takeTouched();
    const keys = new Set<string>();
    const patches = new Map<string, BackendChanges>();
    for (const name of services) if (!this.#hold(name)) this.#derive(name, keys);
    for (const [name, changed] of addresses) {
      if (this.#hold(name)) continue;
      if (!this.#patch(name, changed, patches)) this.#derive(name, keys);
    }
    const changed = new Map<string, Frontend | undefined>();
    for (const key of keys) changed.set(key, this.frontend(key));
    for (const key of patches.keys()) {
      // Looked at as a whole because of another service: then the part is in that.
      if (changed.has(key)) patches.delete(key);
      else changed.set(key, this.frontend(key));
    }
    return this.#program.apply(changed, this.#synced, patches);
  }

  #hold(name: string): boolean {
    const service = this.#held && this.catalogue.services.get(name);
    if (service === undefined || !service.mesh.global) return false;
    const left = deriveFrontends(service, [], this.settings).some(({ key }) =>
      this.#program.isLeft(key),
    );
    if (left) this.#held?.add(name);
    return left;
  }

  #derive(name: string, keys: Set<string>): void {
    const catalogue = this.catalogue;
    const service = catalogue.services.get(name);
    const before = this.#frontends.get(name) ?? [];
    const after =
      service === undefined
        ? []
        : deriveFrontends(
            service,
            catalogue.endpointsOf(service),
            this.settings,
            catalogue.failingOf(service),
            catalogue.remoteOf(service),
          );
    if (after.length > 0) this.#frontends.set(name, after);
    else this.#frontends.delete(name);
    for (const { key } of after) this.#claim(key, name, true);
    const still = new Set(after.map((each) => each.key));
    for (const { key } of before) if (!still.has(key)) this.#claim(key, name, false);
    for (const { key } of [...before, ...after]) keys.add(key);
  }

  /** False if the service must be derived as a whole. */
  #patch(
    name: string,
    addresses: ReadonlySet<Address>,
    patches: Map<string, BackendChanges>,
  ): boolean {
    const catalogue = this.catalogue;
    const service = catalogue.services.get(name);
    const before = this.#frontends.get(name);
    const least = this.settings.patchFrom ?? PATCH_FROM;
    if (service === undefined || !before?.some(({ backends }) => backends.length >= least)) {
      return false;
    }
    const after = patchFrontends(
      service,
      before,
      addresses,
      catalogue.endpointsOf(service, addresses),
      this.settings,
      catalogue.failingOf(service),
      catalogue.remoteOf(service, addresses),
    );
    if (after === undefined) return false;
    this.#frontends.set(
      name,
      after.map(({ frontend }) => frontend),
    );
    for (const { frontend, changes } of after) {
      // Another service may have the address.
      if (this.frontend(frontend.key) === frontend) patches.set(frontend.key, changes);
    }
    return true;
  }

  #claim(key: string, name: string, present: boolean): void {
    const others = (this.#claims.get(key) ?? []).filter((each) => each !== name);
    const holds = this.#claims.get(key)?.[0] === name;
    const claims = present ? (holds ? [name, ...others] : [...others, name]) : others;
    if (claims.length === 0) this.#claims.delete(key);
    else this.#claims.set(key, claims);
  }

  /**
   * Who answers at an address and port. Of several services the one that came first, but a ClusterIP
   * before everything: nobody may take another's by listing it among their externalIPs.
   */
  frontend(key: string): Frontend | undefined {
    const claims = (this.#claims.get(key) ?? []).flatMap(
      (name) => this.#frontends.get(name)?.find((each) => each.key === key) ?? [],
    );
    return claims.find((each) => each.type === 'ClusterIP') ?? claims[0];
  }

  /** Every frontend of every service, also of those that another service keeps from its address. */
  *frontends(): Generator<Frontend> {
    for (const list of this.#frontends.values()) yield* list;
  }

  frontendsOf(ref: ServiceRef): readonly Frontend[] {
    return this.#frontends.get(serviceName(ref)) ?? [];
  }

  /** Addresses that more than one service claims; `frontend` tells who has it. */
  *conflicts(): Generator<{ readonly key: string; readonly services: readonly string[] }> {
    for (const [key, services] of this.#claims) if (services.length > 1) yield { key, services };
  }

  row(frontendKey: string): ServiceRow | undefined {
    return this.#program.row(frontendKey);
  }

  backendId(backendKey: string): number | undefined {
    return this.#program.backendId(backendKey);
  }

  /** What a later run needs to go on with the same numbers. */
  assignment(): Assignment {
    return this.#program.assignment();
  }

  /** Why a client of this frontend ends up where it does. Throws `unknown-frontend`. */
  why(frontendKey: string, query: ChoiceQuery = {}): Choice {
    const frontend = this.frontend(frontendKey);
    if (frontend === undefined) {
      throw new LoadBalancingError(
        'unknown-frontend',
        frontendKey,
        `no service has ${frontendKey}; keys look like 10.96.0.1:80/TCP or [fd00::1]:80/TCP`,
      );
    }
    return explainChoice(frontend, query, (key) => this.backendId(key));
  }
}
