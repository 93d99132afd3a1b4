import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import {
  buildLab,
  destroyLab,
  inParallel,
  type Lab,
  LabError,
  type LabFile,
  loadLab,
  parseLabFile,
  type TrafficResult,
  until,
} from '../index.ts';

/** What was applied a moment ago may still be on its way to a node; far more than it takes on a busy machine. */
const SETTLE_MS = 25_000;

/** A lab file's text, or a shipped lab with what a test changes of it. */
export type Wanted =
  | string
  | { readonly shipped: string; readonly change?: (file: LabFile) => LabFile };

/**
 * One lab for a test file: up before its tests, down after them whatever happened. `prepare` is here
 * because two hooks of a file's top level do not wait for each other.
 */
export function useLab(
  theme: string,
  wanted: Wanted,
  prepare: () => Promise<void> = async () => {},
): () => Lab {
  const name = `t-${theme}-${process.pid}`;
  let lab: Lab | undefined;
  let failure: unknown;
  before(async () => {
    try {
      lab = await buildLab({ ...loaded(theme, wanted), name }, { name });
      await prepare();
    } catch (error) {
      failure = error;
    }
  });
  after(async () => {
    await lab?.[Symbol.asyncDispose]();
    await destroyLab(name, { force: true });
  });
  return () => {
    if (failure !== undefined) throw failure;
    assert.ok(lab !== undefined, `lab ${name} is up`);
    return lab;
  };
}

function loaded(theme: string, wanted: Wanted): { file: LabFile; source: string } {
  if (typeof wanted === 'string')
    return { file: parseLabFile(wanted, `${theme} lab`), source: import.meta.filename };
  const { file, source } = loadLab(wanted.shipped);
  return { file: wanted.change?.(file) ?? file, source };
}

export type Outcome = TrafficResult['outcome'];

export interface Expectation {
  readonly what: string;
  readonly wanted: Outcome;
  readonly attempt: () => Promise<TrafficResult>;
  /** What the answer must hold. */
  readonly answer?: RegExp;
}

function shortfall(expected: Expectation, { outcome, answer, detail }: TrafficResult) {
  const right = outcome === expected.wanted && (expected.answer?.test(answer) ?? true);
  return right
    ? undefined
    : `${expected.what}: wanted ${expected.wanted} ${expected.answer ?? ''}, got ${outcome} ${JSON.stringify(answer.slice(0, 80))} ${detail.split('\n').at(-1) ?? ''}`;
}

/** Each once, now. All that fell short are told together. */
export async function expectNow(expectations: readonly Expectation[]): Promise<void> {
  const results = await inParallel(expectations, 4, async (each) =>
    shortfall(each, await each.attempt()),
  );
  assert.deepEqual(
    results.filter((result) => result !== undefined),
    [],
  );
}

/** Each until it is as expected, for a while. */
export async function expectSoon(expectations: readonly Expectation[]): Promise<void> {
  const results = await inParallel(expectations, 4, async (each) => {
    let last: string | undefined;
    await until(
      each.what,
      async () => {
        last = shortfall(each, await each.attempt());
        return last;
      },
      { timeoutMs: SETTLE_MS },
    ).catch((error: Error) => {
      last ??= error.message;
    });
    return last;
  });
  assert.deepEqual(
    results.filter((result) => result !== undefined),
    [],
  );
}

/** A place's addresses with the family's name, for tests that do the same thing over both. */
export async function families(
  lab: Lab,
  place: string,
): Promise<{ family: 'ipv4' | 'ipv6'; address: string }[]> {
  return (await lab.addresses(place)).map((address) => ({
    family: address.includes(':') ? 'ipv6' : 'ipv4',
    address,
  }));
}

/** Applies manifests given as objects to a cluster's store. */
export async function apply(lab: Lab, cluster: string, ...objects: unknown[]): Promise<void> {
  await (await lab.cluster(cluster).store()).apply(objects);
}

/** Waits until `look` gives a value; the value. What an agent that is starting does not answer counts as none. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined>,
  timeoutMs = SETTLE_MS,
): Promise<T> {
  let value: T | undefined;
  await until(
    what,
    async () => {
      try {
        value = await look();
      } catch (error) {
        if (error instanceof LabError && error.code === 'agent-failed') return error.message;
        throw error;
      }
      return value === undefined ? 'not so' : undefined;
    },
    { timeoutMs },
  );
  return value as T;
}

interface Status {
  readonly ready: boolean;
  readonly reasons: readonly string[];
  readonly sources: readonly Health[];
  readonly reconcilers: readonly Health[];
  readonly cni: { readonly ready: boolean; readonly reasons: readonly string[] };
}
interface Health {
  readonly name: string;
  readonly healthy: boolean;
  readonly detail: string;
}

export async function statusOf(lab: Lab, node: string): Promise<Status> {
  return (await lab.agent(node).get('/v1/status')) as Status;
}

/** Counted packets of a node by reason, both directions together. */
export async function counted(lab: Lab, node: string, reason: string): Promise<number> {
  const rows = (await lab.agent(node).get('/v1/metrics/datapath')) as {
    reason: string;
    packets: number;
  }[];
  return rows.filter((row) => row.reason === reason).reduce((sum, { packets }) => sum + packets, 0);
}

/** Runs a command in a place; its standard output. A failure is the test's. */
export async function sh(lab: Lab, place: string, command: string): Promise<string> {
  const { code, stdout, stderr } = await lab.exec(place, ['sh', '-c', command], {
    timeoutMs: 30_000,
  });
  assert.equal(code, 0, `${place}: ${command}\n${stdout}${stderr}`);
  return stdout;
}
