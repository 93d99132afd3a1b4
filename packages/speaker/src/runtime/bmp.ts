import type { SpeakerApi, SpeakerEvent } from '@causeway/bgp';
import type { BmpExport } from '@causeway/bmp';
import type { Log } from '@causeway/daemon';
import type { SettingsDiff } from '../config/diff.ts';
import type { BmpStation, Settings } from '../config/settings.ts';
import type { OwnEvent } from '../views/event.ts';

export interface BmpStatusView {
  readonly station: string;
  readonly [key: string]: unknown;
}

export interface BmpStationsOptions {
  readonly core: SpeakerApi;
  readonly log: Log;
  readonly hostname: string;
  readonly onEvent: (event: OwnEvent) => void;
}

/** The stations that are told what happens here. The package that does it is loaded when there is one. */
export class BmpStations implements AsyncDisposable {
  readonly #options: BmpStationsOptions;
  readonly #exports = new Map<string, BmpExport>();
  /** The last peer-up of each session that is up: a station that is new needs its OPENs. */
  readonly #ups = new Map<string, SpeakerEvent>();

  constructor(options: BmpStationsOptions) {
    this.#options = options;
  }

  async apply(
    settings: Settings,
    { bmp, speaker }: Pick<SettingsDiff, 'bmp' | 'speaker'>,
  ): Promise<void> {
    // The loc-RIB is told under our AS and identifier.
    const again = speaker ? [...settings.bmp.values()] : bmp.changed;
    for (const { name } of [...bmp.removed, ...again]) await this.#close(name);
    for (const station of [...again, ...bmp.added])
      if (!this.#exports.has(station.name)) await this.#open(station, settings);
  }

  event(event: SpeakerEvent): void {
    if (event.type === 'peer-up') this.#ups.set(event.peer, event);
    if (event.type === 'peer-down') this.#ups.delete(event.peer);
    for (const each of this.#exports.values()) each.event(event);
  }

  feed(id: number): boolean {
    for (const each of this.#exports.values()) if (each.feed(id)) return true;
    return false;
  }

  status(): BmpStatusView[] {
    return Array.from(this.#exports, ([station, each]) => ({ station, ...each.status }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#exports.keys()].map((name) => this.#close(name)));
  }

  async #close(name: string): Promise<void> {
    const station = this.#exports.get(name);
    this.#exports.delete(name);
    await station?.[Symbol.asyncDispose]();
  }

  async #open(station: BmpStation, settings: Settings): Promise<void> {
    const { core, log, hostname, onEvent } = this.#options;
    const { runExporter } = await import('@causeway/bmp');
    const {
      name,
      address,
      port,
      localAddress,
      views,
      statisticsInterval,
      reconnect,
      stallTimeout,
    } = station;
    const made = runExporter({
      speaker: core,
      address,
      port,
      sysName: hostname,
      sysDescr: 'Causeway BGP speaker',
      locRib: {
        asn: settings.asn,
        bgpId: settings.routerId,
        families: ['ipv4-unicast', 'ipv6-unicast'],
      },
      ...(localAddress === undefined ? {} : { localAddress }),
      ...(views === undefined ? {} : { views }),
      ...(statisticsInterval === undefined ? {} : { statisticsInterval }),
      ...(reconnect === undefined ? {} : { reconnect }),
      ...(stallTimeout === undefined ? {} : { stallTimeout }),
      onState: ({ state }) => {
        log.info({ station: name, state }, 'BMP station');
        onEvent({ type: 'bmp', station: name, state });
      },
    });
    this.#exports.set(name, made);
    for (const up of this.#ups.values()) made.event(up);
  }
}
