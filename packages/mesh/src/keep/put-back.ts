import { MeshError } from '../errors.ts';
import type { StateKind } from '../keys.ts';
import { type Sink, type SinkOptions, sinkOf } from '../sinks.ts';
import type { KeptState } from './kept-peer.ts';
import { KEPT_KINDS, type KeptRecord } from './records.ts';

/** Records that are put in before others may run. */
const STEP = 500;

/**
 * Puts what was kept of a peer into the tables, by the same checks as what its store says: of a file nothing is
 * believed that would not be believed of the peer. What is refused is left out; the peer will tell it again.
 */
export async function putBack(
  state: KeptState,
  options: SinkOptions,
  signal: AbortSignal,
): Promise<void> {
  const sinks = new Map(KEPT_KINDS.map((kind) => [kind, sinkOf(kind, options)]));
  for (const sink of sinks.values()) sink.begin();
  for await (const records of state.records()) {
    for (let at = 0; at < records.length; at += STEP) {
      putStep(sinks, records.slice(at, at + STEP));
      await new Promise((resolve) => setImmediate(resolve));
      if (signal.aborted) return;
    }
  }
  for (const sink of sinks.values()) sink.write(() => void sink.end());
}

/** One transaction for each run of records of one kind. */
function putStep(sinks: ReadonlyMap<StateKind, Sink>, records: readonly KeptRecord[]): void {
  let run: Change[] = [];
  const end = () => {
    const sink = run[0] && sinks.get(run[0].kind);
    const changes = run;
    run = [];
    try {
      sink?.write(() => {
        for (const each of changes) change(sink, each);
      });
    } catch {
      // Whoever listens to the table has failed; the rows are in.
    }
  };
  for (const record of records) {
    if (record.type !== 'put' && record.type !== 'delete') continue;
    if (run.length > 0 && run[0]!.kind !== record.kind) end();
    run.push(record);
  }
  end();
}

type Change = Extract<KeptRecord, { readonly type: 'put' | 'delete' }>;

function change(sink: Sink, record: Change): void {
  const { rest } = record;
  if (record.type === 'delete') {
    sink.delete(rest);
    return;
  }
  const { value } = record;
  try {
    sink.put(rest, {
      key: rest,
      value,
      get text() {
        return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString();
      },
    });
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
  }
}
