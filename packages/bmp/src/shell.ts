import { connect, type Socket } from 'node:net';
import type { SpeakerEvent } from '@causeway/bgp';
import type { ExporterOptions, ExporterOutput, ExporterStatus } from './feed.ts';
import { Exporter } from './session.ts';
import { type MonitoredSpeaker, SpeakerSource, sessionInput } from './speaker-source.ts';

/** What an operator says of one station. */
export type BmpStationConfig = {
  readonly address: string;
  /** IANA has 11019 for BMP stations. */
  readonly port: number;
  readonly localAddress?: string;
} & Omit<ExporterOptions, 'source' | 'emit' | 'wallClock'>;

export interface BmpExportOptions extends BmpStationConfig {
  readonly speaker: MonitoredSpeaker;
  /** Told of each change of state. */
  readonly onState?: (status: ExporterStatus) => void;
}

/** One station's feed over TCP. Dispose of it to say goodbye. */
export interface BmpExport extends AsyncDisposable {
  /** For every event of the speaker's. */
  event(event: SpeakerEvent): void;
  /** For every `feed` effect of the speaker's; false if it is not this station's. */
  feed(feed: number): boolean;
  readonly status: ExporterStatus;
}

/** Bytes that may wait in a station's socket before routes are pulled again. */
const LOW_WATER = 64 * 1024;
/** Bytes pulled at a time; other sockets have their turn between. */
const SLICE = 128 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;
/** A station that has not taken the goodbye by then does not get it. */
const GOODBYE_MS = 1_000;

/** Runs an exporter: its socket, its timers, the system's clocks. No decision is made here. */
export function runExporter(options: BmpExportOptions): BmpExport {
  const source = new SpeakerSource(options.speaker);
  const now = (): number => performance.now();
  let socket: Socket | undefined;
  let timer: NodeJS.Timeout | undefined;
  let pulling = false;

  const exporter = new Exporter({
    ...options,
    source,
    emit,
    wallClock: () => Math.round((performance.timeOrigin + performance.now()) * 1000),
  });

  function emit(output: ExporterOutput): void {
    switch (output.type) {
      case 'connect':
        socket = dial();
        return;
      case 'close':
        hangUp(output.last);
        return;
      case 'wake':
        pull();
        return;
      case 'state':
        options.onState?.(exporter.status);
        return;
      default:
        output satisfies never;
    }
  }

  function dial(): Socket {
    const { address, port, localAddress } = options;
    const dialled = connect({
      host: address,
      port,
      ...(localAddress === undefined ? {} : { localAddress }),
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
    });
    let connected = false;
    let failure: string | undefined;
    dialled.setTimeout(CONNECT_TIMEOUT_MS, () => {
      failure = `no answer in ${CONNECT_TIMEOUT_MS / 1000} s`;
      dialled.destroy();
    });
    dialled.on('connect', () => {
      connected = true;
      dialled.setTimeout(0);
      handle({ type: 'connected' });
    });
    dialled.on('drain', pull);
    // RFC 7854 section 3.2: nothing comes from the station; what does come is thrown away.
    dialled.on('data', () => {});
    dialled.on('end', () => dialled.destroy());
    dialled.on('error', (error: NodeJS.ErrnoException) => {
      failure = error.code ?? error.message;
    });
    dialled.on('close', () => {
      if (socket !== dialled) return;
      socket = undefined;
      if (connected)
        handle({ type: 'closed', ...(failure === undefined ? {} : { error: failure }) });
      else handle({ type: 'connect-failed', error: failure ?? 'closed' });
    });
    return dialled;
  }

  function hangUp(last: Uint8Array | undefined): void {
    const leaving = socket;
    socket = undefined;
    if (leaving === undefined) return;
    if (last === undefined) {
      leaving.destroy();
      return;
    }
    leaving.end(last);
    const force = setTimeout(() => leaving.destroy(), GOODBYE_MS);
    leaving.on('close', () => clearTimeout(force));
  }

  /** From a turn of its own, so that a feed's wake never runs inside the speaker's work. */
  function pull(): void {
    if (pulling) return;
    pulling = true;
    setImmediate(() => {
      pulling = false;
      if (socket === undefined || socket.writableLength > LOW_WATER) return;
      const bytes = exporter.produce(SLICE, now());
      if (bytes.length > 0) {
        socket?.write(bytes);
        // A full socket says `drain`; one with room is asked again at once.
        if (socket !== undefined && !socket.writableNeedDrain) pull();
      }
      arm();
    });
  }

  function handle(input: Parameters<Exporter['handle']>[0]): void {
    exporter.handle(input, now());
    arm();
  }

  function arm(): void {
    clearTimeout(timer);
    const { deadline } = exporter;
    if (deadline === undefined) return;
    timer = setTimeout(() => handle({ type: 'timer' }), Math.max(0, deadline - now()) + 1);
    timer.unref();
  }

  handle({ type: 'start' });
  return {
    event(event) {
      const input = sessionInput(event);
      if (input !== undefined) handle(input);
    },
    feed: (feed) => source.woken(feed, now()),
    get status() {
      return exporter.status;
    },
    async [Symbol.asyncDispose]() {
      const leaving = socket;
      clearTimeout(timer);
      exporter.handle({ type: 'stop' }, now());
      clearTimeout(timer);
      if (leaving === undefined || leaving.destroyed) return;
      await new Promise<void>((resolve) => leaving.once('close', () => resolve()));
    },
  };
}
