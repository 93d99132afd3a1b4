import { type Log, messageWithCauses } from '@causeway/daemon';
import type { AgentConfig } from '../config/schema.ts';
import type { NodeDatapath } from '../datapath/ports.ts';
import { addressesOf } from '../host/devices.ts';
import { lifelinesOf } from '../host-endpoint/lifelines.ts';
import { type ProtectedTable, protectedTable, StoreSockets } from '../ipcache/protected.ts';
import type { Foundation } from './foundation.ts';

/** Names are looked up anew, and devices asked for their addresses. */
const AGAIN_MS = 60_000;

export interface ProtectingOptions {
  readonly config: AgentConfig;
  readonly foundation: Foundation;
  readonly datapath: NodeDatapath;
  /** Endpoints of the peers' stores. */
  readonly peers: () => readonly string[];
  readonly log: Log;
}

/** The stores' sockets, whatever policy says: closed to the pods, and never cut off from the node. */
export class Protecting implements Disposable {
  readonly sockets: ProtectedTable;
  readonly #options: ProtectingOptions;
  readonly #stores: StoreSockets;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ProtectingOptions) {
    this.#options = options;
    this.sockets = protectedTable(options.foundation.database);
    this.#stores = new StoreSockets(options.config.etcd.endpoints);
  }

  async start(): Promise<void> {
    await this.#refresh();
    this.#timer = setInterval(() => this.refresh(), AGAIN_MS);
  }

  /** Looks again, soon. */
  refresh(): void {
    this.#refresh().catch((error) =>
      this.#options.log.error({ error: messageWithCauses(error) }, 'stores are not protected'),
    );
  }

  async #refresh(): Promise<void> {
    const { config, foundation, datapath, peers } = this.#options;
    this.sockets.replace(await this.#stores.find(peers()));
    const stores = [...this.sockets.rows()];
    datapath.setProtected(stores);
    if (!config.hostEndpoint.enabled) return;
    const own = new Set(addressesOf([...foundation.host.tables.devices.rows()]));
    datapath.setLifelines(lifelinesOf(config, stores, own));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
