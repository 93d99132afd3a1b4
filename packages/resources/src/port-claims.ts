import type { CallOptions } from '@causeway/etcd';
import { ResourceError } from './errors.ts';
import type { PlanContext } from './plan.ts';
import type { Service } from './schema/service.ts';
import { type NodePort, pickNodePort, planNodePorts, portText } from './service-ports.ts';
import { nameOf } from './validate.ts';
import { claimOwner, NODE_PORT_CLAIMS, portClaimKey } from './writes.ts';

/** Single questions per plan before all claims are read. */
const MAX_GUESSES = 8;

/** Chooses the node ports of the services of one plan, so that they do not meet each other either. */
export class PortClaims {
  readonly #context: PlanContext;
  readonly #options: CallOptions;
  /** Claim keys. */
  readonly #chosen = new Set<string>();
  #used: Set<string> | undefined;
  #guesses = 0;

  constructor(context: PlanContext, options: CallOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Throws `port-taken` for another's, `exhausted` where none is left. */
  async settle(
    next: Service,
    stored: Service | undefined,
  ): Promise<{ service: Service; taken: string[]; released: string[] }> {
    const plan = planNodePorts(next, stored);
    const what = nameOf(next);
    // What is asked for by name goes first: nothing that is chosen may stand in its way.
    const ports = new Map<number, NodePort>();
    const taken: string[] = [];
    const take = (index: number, port: NodePort, mine: boolean) => {
      const key = portClaimKey(port);
      if (!mine) taken.push(key);
      this.#chosen.add(key);
      this.#used?.add(key);
      ports.set(index, port);
    };
    for (const [index, wish] of plan.wishes.entries()) {
      if (wish.type === 'any') continue;
      const mine = wish.type === 'kept' || (await this.#owns(wish.port, wish.path, what));
      take(index, wish.port, mine);
    }
    for (const [index, wish] of plan.wishes.entries()) {
      if (wish.type !== 'any') continue;
      const { protocol, servicePort } = wish;
      const twin = plan.wishes.findIndex(
        (each, i) => servicePort !== undefined && each.servicePort === servicePort && ports.has(i),
      );
      take(index, await this.#free(protocol, ports.get(twin)?.port, what), false);
    }
    const given = plan.wishes.map((_, index) => ports.get(index)!);
    return {
      service: plan.finish(next, given),
      taken,
      released: plan.released.map(portClaimKey),
    };
  }

  async #free(
    protocol: NodePort['protocol'],
    like: number | undefined,
    what: string,
  ): Promise<NodePort> {
    const { random } = this.#context;
    if (like !== undefined && (await this.#isFree({ protocol, port: like }))) {
      return { protocol, port: like };
    }
    const numbers = (keys: ReadonlySet<string>) => {
      const prefix = portClaimKey({ protocol, port: 0 }).slice(0, -1);
      const own = [...keys].filter((key) => key.startsWith(prefix));
      return new Set(own.map((key) => Number(key.slice(prefix.length))));
    };
    while (this.#used === undefined && this.#guesses++ < MAX_GUESSES) {
      const guess = pickNodePort(protocol, numbers(this.#chosen), random, what);
      if (await this.#isFree(guess)) return guess;
    }
    return pickNodePort(protocol, numbers(await this.#inUse()), random, what);
  }

  async #isFree(port: NodePort): Promise<boolean> {
    const key = portClaimKey(port);
    if (this.#chosen.has(key)) return false;
    return (await this.#context.kv.get(key, this.#options)) === undefined;
  }

  /** Whether the service's own claim stands already. */
  async #owns(port: NodePort, path: string, what: string): Promise<boolean> {
    const key = portClaimKey(port);
    const entry = await this.#context.kv.get(key, this.#options);
    if (entry === undefined && !this.#chosen.has(key)) return false;
    const owner = entry === undefined ? 'another Service of this manifest' : claimOwner(entry);
    if (owner === what) return true;
    throw new ResourceError(
      'port-taken',
      `${what}: ${path} ${portText(port)} is held by ${owner}`,
      {
        object: what,
        value: port.port,
        hint: `leave ${path} out to be given a free one`,
      },
    );
  }

  async #inUse(): Promise<Set<string>> {
    if (this.#used !== undefined) return this.#used;
    const used = new Set(this.#chosen);
    const pages = this.#context.kv.pages(NODE_PORT_CLAIMS, { ...this.#options, keysOnly: true });
    for await (const { entries } of pages) for (const { key } of entries) used.add(key);
    this.#used = used;
    return used;
  }
}
