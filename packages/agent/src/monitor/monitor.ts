import { EventStreams } from '@causeway/daemon';
import { AgentError } from '../errors.ts';

export const MONITOR_TYPES = ['drop', 'verdict', 'trace', 'audit'] as const;
export type MonitorType = (typeof MONITOR_TYPES)[number];

type MonitorLine = { readonly type: MonitorType } & Readonly<Record<string, unknown>>;

export interface MonitorOptions {
  /** Lines kept for one reader that does not read. */
  readonly buffer: number;
  readonly clients: number;
  /** Told whenever the set of wanted types changes: the kernel sends only what somebody reads. */
  readonly onInterest: (types: ReadonlySet<MonitorType>) => void;
}

/** Hands the datapath's events to readers, and tells the kernel which of them anybody reads. */
export class Monitor {
  readonly #events: EventStreams<MonitorLine>;
  readonly #onInterest: (types: ReadonlySet<MonitorType>) => void;
  readonly #wanted = new Set<ReadonlySet<MonitorType>>();

  constructor({ buffer, clients, onInterest }: MonitorOptions) {
    this.#events = new EventStreams({
      buffer,
      readers: clients,
      hint: 'close one of them, or raise limits.monitorClients',
    });
    this.#onInterest = onInterest;
  }

  /** Lines of JSON as bytes, until the reader cancels or the agent ends. */
  stream(types: ReadonlySet<MonitorType>): ReadableStream<Uint8Array> {
    // A set of its own, so that two readers of the same types are two.
    const mine = new Set(types);
    const stream = this.#events.stream({
      wants: (line) => mine.has(line.type),
      onClose: () => {
        this.#wanted.delete(mine);
        this.#tellInterest();
      },
    });
    this.#wanted.add(mine);
    this.#tellInterest();
    return stream;
  }

  wants(type: MonitorType): boolean {
    for (const types of this.#wanted) if (types.has(type)) return true;
    return false;
  }

  get readers(): number {
    return this.#events.readers;
  }

  publish(line: MonitorLine): void {
    this.#events.publish(line);
  }

  close(): void {
    this.#events.close();
  }

  #tellInterest(): void {
    const all = new Set<MonitorType>();
    for (const types of this.#wanted) for (const type of types) all.add(type);
    this.#onInterest(all);
  }
}

/** @throws AgentError `bad-request` for a type that does not exist. */
export function parseMonitorTypes(text: string | undefined): ReadonlySet<MonitorType> {
  if (text === undefined || text === '') return new Set(['drop']);
  const types = new Set<MonitorType>();
  for (const part of text.split(',', 16)) {
    const type = MONITOR_TYPES.find((each) => each === part.trim());
    if (type === undefined) {
      throw new AgentError(
        'bad-request',
        `type ${JSON.stringify(part.slice(0, 40))} is none of ${MONITOR_TYPES.join(', ')}`,
        {
          field: 'type',
          value: part,
        },
      );
    }
    types.add(type);
  }
  return types;
}
