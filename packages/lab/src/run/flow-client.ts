import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/**
 * Opens many TCP connections, keeps them, and asks each on demand whether it still lives: a line goes out,
 * and the same line must come back. Told what by its only argument; a number on standard input is a
 * check that waits so many seconds. Prints one line of JSON for the opening and for each check.
 */

export interface FlowClientRequest {
  readonly targets: readonly {
    readonly name: string;
    readonly address: string;
    readonly port: number;
  }[];
  /** For each target. */
  readonly flows: number;
}

/** Flows of one target to one backend. */
export interface FlowCount {
  readonly target: string;
  /** Empty for flows that never heard from one. */
  readonly backend: string;
  readonly flows: number;
  /** Ended by the other side or the kernel since the last report. */
  readonly reset: number;
  /** Not ended, but no answer came in time. */
  readonly silent: number;
}

interface Flow {
  readonly target: string;
  socket: Socket;
  backend: string;
  state: 'opening' | 'open' | 'asked' | 'lost';
}

/** Connections that are being opened at one time. */
const AT_ONCE = 128;
/** A busy machine may lose the first packets of one: they are sent again after 1, 3, 7 and 15 seconds. */
const OPEN_MS = 20_000;
/** Lines written before others have their turn. */
const BURST = 250;

function open(target: string, address: string, port: number): Promise<Flow> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, noDelay: true });
    const flow: Flow = { target, socket, backend: '', state: 'opening' };
    const timer = setTimeout(() => socket.destroy(), OPEN_MS);
    let rest = '';
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      rest += text;
      const end = rest.indexOf('\n');
      if (end < 0) return;
      if (flow.state === 'opening') {
        flow.backend = rest.slice(0, end).split(' ')[0] ?? '';
        flow.state = 'open';
        clearTimeout(timer);
        resolve(flow);
      } else if (flow.state === 'asked') flow.state = 'open';
      rest = rest.slice(rest.lastIndexOf('\n') + 1);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      flow.state = 'lost';
      clearTimeout(timer);
      resolve(flow);
    });
  });
}

async function openAll({ targets, flows }: FlowClientRequest): Promise<Flow[]> {
  const wanted = Array.from({ length: flows }, () => targets).flat();
  const opened: Flow[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < wanted.length; index = next++) {
      const { name, address, port } = wanted[index]!;
      opened.push(await open(name, address, port));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return opened;
}

async function ask(flows: readonly Flow[], seconds: number): Promise<void> {
  for (const [index, flow] of flows.entries()) {
    if (flow.state === 'lost') continue;
    flow.state = 'asked';
    flow.socket.write('is anybody there\n');
    if (index % BURST === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end && flows.some(({ state }) => state === 'asked'))
    await new Promise((resolve) => setTimeout(resolve, 50));
}

function count(flows: readonly Flow[], reset: (flow: Flow) => boolean): FlowCount[] {
  const rows = new Map<string, { -readonly [K in keyof FlowCount]: FlowCount[K] }>();
  for (const flow of flows) {
    const key = `${flow.target} ${flow.backend}`;
    const row = rows.get(key) ?? {
      target: flow.target,
      backend: flow.backend,
      flows: 0,
      reset: 0,
      silent: 0,
    };
    rows.set(key, row);
    row.flows += 1;
    if (reset(flow)) row.reset += 1;
    else if (flow.state === 'asked') row.silent += 1;
  }
  return [...rows.values()];
}

if (import.meta.main) {
  let flows = await openAll(JSON.parse(process.argv[2] ?? '') as FlowClientRequest);
  console.log(JSON.stringify(count(flows, ({ state }) => state === 'lost')));
  flows = flows.filter(({ state }) => state !== 'lost');
  for await (const seconds of createInterface({ input: process.stdin })) {
    await ask(flows, Number(seconds));
    console.log(JSON.stringify(count(flows, ({ state }) => state === 'lost')));
    // What is lost is counted once. A silent one is given up, too: the next check is about the next event.
    for (const { state, socket } of flows) if (state === 'asked') socket.destroy();
    flows = flows.filter(({ state }) => state === 'open');
  }
  process.exit();
}
