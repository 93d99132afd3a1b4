import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  attachXdp,
  BpfLink,
  type BpfProgram,
  LinuxError,
  RtSocket,
  UnsupportedError,
  unpin,
  type XdpMode,
} from '@causeway/linux';
import { DatapathError } from './errors.ts';

/** A device on which services are taken before the kernel makes anything of the packet. */
export interface EdgeDevice {
  readonly ifname: string;
  readonly ifindex: number;
  readonly mode: XdpMode;
}

export interface EdgeSpec {
  readonly ifname: string;
  readonly ifindex: number;
  /** 'auto' (default): in the driver where it can. A veth can, but loses what is sent on to a peer without XDP. */
  readonly mode?: XdpMode | 'auto';
}

const MODES: readonly XdpMode[] = ['native', 'generic'];

/** The XDP programs of edge devices, remembered by pins that say their mode. */
export class EdgeLinks {
  readonly #directory: string;
  readonly #program: () => BpfProgram;

  /** `program` is asked for when the first device wants it. */
  constructor(directory: string, program: () => BpfProgram) {
    this.#directory = directory;
    this.#program = program;
  }

  /** Idempotent; a program of an earlier run is exchanged. Throws device-gone. */
  attach({ ifname, ifindex, mode = 'auto' }: EdgeSpec): EdgeDevice {
    const present = this.devices().find((each) => each.ifname === ifname);
    if (present?.ifindex === ifindex && (mode === 'auto' || mode === present.mode)) {
      using link = BpfLink.openPinned(this.#pin(ifname, present.mode));
      link.update(this.#program());
      return present;
    }
    this.detach(ifname);
    const chosen = mode === 'auto' ? this.#best(ifname, ifindex) : mode;
    try {
      return this.#attach(ifname, ifindex, chosen);
    } catch (error) {
      if (mode !== 'auto' || chosen === 'generic' || !(error instanceof UnsupportedError)) {
        throw error;
      }
      return this.#attach(ifname, ifindex, 'generic');
    }
  }

  /** Idempotent, also when the device is gone. */
  detach(ifname: string): void {
    for (const mode of MODES) {
      const path = this.#pin(ifname, mode);
      if (!existsSync(path)) continue;
      using link = BpfLink.openPinned(path);
      unpin(path);
      // Detaching what went with its device fails; closing is enough then.
      if (link.info().ifindex !== 0) link.detach();
    }
  }

  /** Those that are attached; a device that is gone has the index 0. */
  devices(): EdgeDevice[] {
    return readdirSync(this.#directory).flatMap((name) => {
      const match = /^(.+)_xdp_(native|generic)$/.exec(name);
      if (match === null) return [];
      using link = BpfLink.openPinned(join(this.#directory, name));
      return [{ ifname: match[1]!, ifindex: link.info().ifindex ?? 0, mode: match[2] as XdpMode }];
    });
  }

  #attach(ifname: string, ifindex: number, mode: XdpMode): EdgeDevice {
    try {
      using link = attachXdp(this.#program(), ifindex, mode);
      link.pin(this.#pin(ifname, mode));
      return { ifname, ifindex, mode };
    } catch (cause) {
      if (cause instanceof LinuxError && cause.code === 'not-found')
        throw gone(ifname, ifindex, cause);
      throw cause;
    }
  }

  #best(ifname: string, ifindex: number): XdpMode {
    using socket = RtSocket.open();
    const link = socket.link({ index: ifindex });
    if (link === undefined || link.name !== ifname) throw gone(ifname, ifindex);
    return link.kind === 'veth' ? 'generic' : 'native';
  }

  #pin(ifname: string, mode: XdpMode): string {
    return join(this.#directory, `${ifname}_xdp_${mode}`);
  }
}

const gone = (ifname: string, ifindex: number, cause?: unknown) =>
  new DatapathError('device-gone', `there is no device ${ifname} (index ${ifindex})`, {
    value: ifindex,
    ...(cause !== undefined && { cause }),
  });
