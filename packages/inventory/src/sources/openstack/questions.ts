import type { Errand } from './hint-queue.ts';
import type { Port } from './objects.ts';
import type { Objects, Site } from './site.ts';
import type { Asked, SiteView } from './view.ts';

/** Questions about single objects, whose answers go into the view. No failure says that something is absent; only an answer does. */
export class Questions {
  readonly #site: Site;
  readonly #view: SiteView;
  readonly #add: (errand: Errand) => void;

  /** @param add what an answer makes worth asking. */
  constructor(site: Site, view: SiteView, add: (errand: Errand) => void) {
    this.#site = site;
    this.#view = view;
    this.#add = add;
  }

  async ports(ids: readonly string[], signal: AbortSignal): Promise<void> {
    const rest = new Set(ids);
    if (ids.length > 1) {
      await this.#asking(async (asked) => {
        const found = await this.#site.portsById(ids, signal);
        this.saw(asked, found);
        for (const { id } of found.objects) rest.delete(id);
        for (const id of found.unknown.keys()) rest.delete(id);
      });
    }
    // A list may lack what it could not see; only asked by its id is a port said not to be.
    for (const id of rest) await this.#port(id, signal);
  }

  /** All ports of a device. */
  async device(id: string, signal: AbortSignal): Promise<void> {
    const before = this.#view.portsOf(id);
    await this.#asking(async (asked) => {
      const found = await this.#site.portsOf(id, signal);
      this.saw(asked, found);
      const named = new Set(found.objects.map((port) => port.id));
      for (const port of before) if (!named.has(port)) this.#add({ type: 'port', id: port });
    });
  }

  /** False if Nova could not say whether there is one. */
  async server(id: string, signal: AbortSignal): Promise<boolean> {
    return await this.#asking(async (asked) => {
      const server = await this.#site.server(id, signal);
      if (server === undefined) this.#view.missedServer(asked, id);
      else if (server.type === 'object') this.#view.sawServer(asked, server.object);
      else return false;
      return true;
    });
  }

  async names(signal: AbortSignal): Promise<void> {
    this.#view.setNames(await this.#site.names(signal));
  }

  saw(asked: Asked, ports: Objects<Port>): void {
    for (const port of ports.objects) this.#view.sawPort(asked, port);
  }

  async #port(id: string, signal: AbortSignal): Promise<void> {
    await this.#asking(async (asked) => {
      const port = await this.#site.port(id, signal);
      if (port === undefined) this.#view.missedPort(asked, id);
      else if (port.type === 'object') this.#view.sawPort(asked, port.object);
    });
  }

  async #asking<Answer>(ask: (asked: Asked) => Promise<Answer>): Promise<Answer> {
    const asked = this.#view.ask();
    try {
      return await ask(asked);
    } finally {
      this.#view.settle(asked);
    }
  }
}
