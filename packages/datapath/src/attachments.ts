import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  attachCgroup,
  attachTcFilter,
  attachTcx,
  BpfLink,
  BpfProgram,
  type CgroupHook,
  type Direction,
  detachTcFilter,
  LinuxError,
  queryTcFilter,
  type TcFilter,
  unpin,
} from '@causeway/linux';
import { DatapathError } from './errors.ts';

/** How programs stand on devices: by links that outlive us (6.6), or by filters of a clsact qdisc. */
export type AttachMode = 'tcx' | 'clsact';

const CLSACT = { handle: 0xca5e, priority: 0xca5e & 0x7fff } as const;
/** Asked after the others of the device. */
const CLSACT_LAST = { handle: 0xca5f, priority: (0xca5e & 0x7fff) + 1 } as const;
const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

/** Takes our filters off a device, as a clean-up does that no longer knows how they came there. */
export function detachFilters(ifindex: number): boolean {
  return DIRECTIONS.flatMap((direction) =>
    [CLSACT_LAST, CLSACT].map((filter) => detachTcFilter({ ifindex, direction, ...filter })),
  ).some((detached) => detached);
}

/** Where among our programs of a device and direction. */
export type Place = 'first' | 'last';

const pinName = (ifname: string, direction: Direction, place: Place = 'first') =>
  `${ifname}_${direction}${place === 'last' ? '_last' : ''}`;

const filterOf = (place: Place) => (place === 'last' ? CLSACT_LAST : CLSACT);

/**
 * Programs on devices and cgroups, remembered by pins. A place that has a program of ours already gets
 * the new one by one atomic exchange: no packet meets a device without its program.
 */
export class Attachments {
  /** Where the pins are. */
  readonly directory: string;
  readonly #mode: AttachMode;

  constructor(directory: string, mode: AttachMode) {
    this.directory = directory;
    this.#mode = mode;
    mkdirSync(directory, { recursive: true });
  }

  /**
   * Throws device-gone when there is no such device in the thread's namespace. What is 'last' is attached after
   * what is 'first'.
   */
  attach(
    program: BpfProgram,
    ifindex: number,
    ifname: string,
    direction: Direction,
    place: Place = 'first',
  ): void {
    try {
      if (this.#mode === 'clsact') {
        attachTcFilter(program, { ifindex, direction, ...filterOf(place) });
        return;
      }
      const path = join(this.directory, pinName(ifname, direction, place));
      using pinned = openLink(path);
      if (pinned !== undefined && pinned.info().ifindex === ifindex) {
        pinned.update(program);
        return;
      }
      // A link of a device that is gone, or whose name went to another device.
      if (pinned !== undefined) unpin(path);
      using link = attachTcx(program, ifindex, direction);
      link.pin(path);
    } catch (cause) {
      if (cause instanceof LinuxError && cause.code === 'not-found') {
        throw new DatapathError('device-gone', `there is no device ${ifname} (index ${ifindex})`, {
          value: ifindex,
          cause,
        });
      }
      throw cause;
    }
  }

  /** Idempotent, also when the device is gone. `ifindex` matters without links only. */
  detach(ifname: string, ifindex?: number): void {
    this.detachPlace(ifname, 'last', ifindex);
    this.detachPlace(ifname, 'first', ifindex);
  }

  detachPlace(ifname: string, place: Place, ifindex?: number): void {
    for (const direction of DIRECTIONS) {
      const path = join(this.directory, pinName(ifname, direction, place));
      using link = openLink(path);
      if (link !== undefined) {
        unpin(path);
        // Detaching what went with its device fails; closing is enough then.
        if (link.info().ifindex !== 0) link.detach();
      }
      if (this.#mode === 'clsact' && ifindex !== undefined) {
        detachTcFilter({ ifindex, direction, ...filterOf(place) });
      }
    }
  }

  /** The program that stands there by our doing. */
  programId(ifname: string, ifindex: number, direction: Direction): number | undefined {
    if (this.#mode === 'clsact') {
      const filter: TcFilter = { ifindex, direction, ...CLSACT };
      return queryTcFilter(filter)?.programId;
    }
    using link = openLink(join(this.directory, pinName(ifname, direction)));
    const info = link?.info();
    return info?.ifindex === ifindex ? info.programId : undefined;
  }

  /** The index of a device for which a link is pinned; 0: it is gone. Undefined without such a link. */
  indexOf(ifname: string): number | undefined {
    let found: number | undefined;
    for (const direction of DIRECTIONS) {
      using link = openLink(join(this.directory, pinName(ifname, direction)));
      if (link !== undefined) found = Math.max(found ?? 0, link.info().ifindex ?? 0);
    }
    return found;
  }

  /** Devices that have a link in the last place. */
  lastDevices(): string[] {
    const names = readdirSync(this.directory).map((name) => /^(.+)_(?:in|e)gress_last$/.exec(name));
    return [...new Set(names.flatMap((match) => match?.[1] ?? []))];
  }

  /** Devices for which a link is pinned; `ifindex` 0: the device is gone. */
  devices(): { readonly ifname: string; readonly ifindex: number }[] {
    const found = new Map<string, number>();
    for (const name of readdirSync(this.directory)) {
      const match = /^(.+)_(ingress|egress)$/.exec(name);
      if (match === null) continue;
      using link = openLink(join(this.directory, name));
      found.set(match[1]!, Math.max(found.get(match[1]!) ?? 0, link?.info().ifindex ?? 0));
    }
    return [...found].map(([ifname, ifindex]) => ({ ifname, ifindex }));
  }

  /** One socket hook; `path` is the cgroup's directory. */
  attachCgroup(program: BpfProgram, path: string, hook: CgroupHook): void {
    const pin = join(this.directory, `cgroup_${hook}`);
    using pinned = openLink(pin);
    if (pinned !== undefined) {
      const { cgroupId } = pinned.info();
      if (cgroupId === statSync(path, { bigint: true }).ino) {
        pinned.update(program);
        return;
      }
      unpin(pin);
    }
    using link = attachCgroup(program, path, hook);
    link.pin(pin);
    // The old place goes only now that the new one is served.
    if (pinned !== undefined && pinned.info().cgroupId !== 0n) pinned.detach();
  }

  detachCgroup(hook: CgroupHook): void {
    const pin = join(this.directory, `cgroup_${hook}`);
    using link = openLink(pin);
    if (link === undefined) return;
    unpin(pin);
    link.detach();
  }

  /**
   * Exchanges the program of every pinned link for the one of the same name. Returns the names of the
   * links that were exchanged.
   */
  updateAll(programOf: (name: string) => BpfProgram | undefined): string[] {
    const updated: string[] = [];
    for (const name of readdirSync(this.directory)) {
      using link = openLink(join(this.directory, name));
      if (link === undefined) continue;
      const info = link.info();
      if ((info.type === 'tcx' || info.type === 'xdp') && info.ifindex === 0) continue;
      const program = programOf(programNameOf(name, info.programId));
      if (program === undefined || program.info.id === info.programId) continue;
      link.update(program);
      updated.push(name);
    }
    return updated;
  }
}

/** Socket hooks say it in the pin; of devices, the present program's own name says what it is. */
function programNameOf(pin: string, programId: number): string {
  const hook = /^cgroup_(\w+)$/.exec(pin)?.[1];
  if (hook !== undefined) return `sock_${hook}`;
  using program = BpfProgram.openId(programId);
  return program.info.name;
}

function openLink(path: string): BpfLink | undefined {
  return existsSync(path) ? BpfLink.openPinned(path) : undefined;
}
