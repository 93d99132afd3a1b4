import type { KindName, ResourceKinds, ResourceStore, ResourceWatch } from '@causeway/resources';
import type { Table, TableKey } from '@causeway/tables';
import { messageWithCauses } from '../errors.ts';
import type { Log } from '../log.ts';

/** How a kind's objects become a table's rows. */
export interface KindSource<K extends KindName, Row, Key extends TableKey> {
  readonly kind: K;
  readonly table: Table<Row, Key>;
  /** Undefined for an object that this node has no use for. */
  readonly row: (object: ResourceKinds[K]) => Row | undefined;
  readonly key: (namespace: string | undefined, name: string) => Key;
}

export interface SourceStatus {
  readonly name: string;
  readonly synced: boolean;
  readonly connected: boolean;
  readonly rows: number;
  /** Objects that the store holds and that are not valid, newest last. */
  readonly rejected: readonly string[];
  readonly lastError: string | undefined;
}

const MAX_REJECTED = 20;

/**
 * Keeps a table equal to all objects of a kind. Lost contact changes no row: the last known state
 * stays until a new list says otherwise.
 */
export class KindFollower<K extends KindName, Row, Key extends TableKey>
  implements AsyncDisposable
{
  readonly #source: KindSource<K, Row, Key>;
  readonly #watch: ResourceWatch<ResourceKinds[K]>;
  readonly #log: Log;
  readonly #running: Promise<void>;
  readonly #rejected = new Map<string, string>();
  readonly #initial;
  #synced = false;
  #connected = false;
  #lastError: string | undefined;

  constructor(store: ResourceStore, source: KindSource<K, Row, Key>, log: Log) {
    this.#source = source;
    this.#log = log;
    this.#initial = source.table.source(source.kind);
    this.#watch = store.watch(source.kind);
    this.#running = this.#run();
  }

  status(): SourceStatus {
    return {
      name: this.#source.kind,
      synced: this.#synced,
      connected: this.#connected,
      rows: this.#source.table.size,
      rejected: [...this.#rejected.values()],
      lastError: this.#lastError,
    };
  }

  async #run(): Promise<void> {
    const { kind, table, row, key } = this.#source;
    for await (const batch of this.#watch.batches()) {
      table.database.write(() => {
        for (const event of batch) {
          switch (event.type) {
            case 'snapshot':
              this.#connected = true;
              break;
            case 'put': {
              const { namespace, name } = event.object.metadata;
              this.#rejected.delete(`${namespace ?? ''}/${name}`);
              try {
                const made = row(event.object);
                if (made === undefined) table.delete(key(namespace, name));
                else table.put(made);
              } catch (error) {
                this.#reject(namespace, name, messageWithCauses(error));
              }
              break;
            }
            case 'delete':
              this.#rejected.delete(`${event.namespace ?? ''}/${event.name}`);
              table.delete(key(event.namespace, event.name));
              break;
            case 'rejected':
              this.#reject(event.rejected.namespace, event.rejected.name, event.rejected.reason);
              break;
            case 'synced':
              this.#synced = true;
              this.#connected = true;
              this.#lastError = undefined;
              break;
            case 'disconnected':
              this.#connected = false;
              this.#lastError = event.error.message;
              break;
            default:
              event satisfies never;
          }
        }
      });
      if (this.#synced) this.#initial.done();
    }
    this.#log.debug({ kind }, 'source closed');
  }

  #reject(namespace: string | undefined, name: string, reason: string): void {
    const key = `${namespace ?? ''}/${name}`;
    this.#rejected.delete(key);
    this.#rejected.set(
      key,
      `${this.#source.kind} ${namespace === undefined ? '' : `${namespace}/`}${name}: ${reason}`,
    );
    if (this.#rejected.size > MAX_REJECTED) {
      for (const oldest of this.#rejected.keys()) {
        this.#rejected.delete(oldest);
        break;
      }
    }
    this.#log.warn(
      { kind: this.#source.kind, namespace, name, reason },
      'an object in the store is not valid and is passed over',
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
    await this.#running;
  }
}
