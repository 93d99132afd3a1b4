import { Address, Prefix } from '@causeway/ip';
import { LabError } from '../errors.ts';
import type { LabRack } from '../file/schema.ts';
import type { DeviceAddress } from './types.ts';

/** Where there is room, the first ten addresses are left to routers, so that nodes start at .11. */
const ROUTER_ROOM = 10n;

/** Hands out a rack's addresses in order, past those that the file fixes. */
export class RackAddresses {
  readonly #rack: LabRack;
  readonly #fixed: ReadonlySet<Address>;
  #taken = 0n;
  #pastRouters = false;

  constructor(rack: LabRack, fixed: readonly Address[]) {
    this.#rack = rack;
    this.#fixed = new Set(fixed);
  }

  /** One address per family of the rack, the same index in both. Throws when the rack is full. */
  take(
    place: string,
    fixed: { readonly ipv4?: string | undefined; readonly ipv6?: string | undefined },
  ): DeviceAddress[] {
    const families = (['ipv4', 'ipv6'] as const).filter(
      (family) => this.#rack[family] !== undefined,
    );
    let index: bigint | undefined;
    return families.map((family) => {
      const prefix = Prefix.parse(this.#rack[family]!);
      const given = fixed[family];
      if (given !== undefined)
        return { address: Address.parse(given), length: Prefix.length(prefix) };
      index ??= this.#next();
      return { address: this.#nth(prefix, index, place), length: Prefix.length(prefix) };
    });
  }

  /** Called once the routers have theirs. */
  leaveRouterRoom(): void {
    this.#pastRouters = true;
  }

  #next(): bigint {
    const prefixes = [this.#rack.ipv4, this.#rack.ipv6].flatMap((text) =>
      text === undefined ? [] : [Prefix.parse(text)],
    );
    const roomy = prefixes.every((prefix) => Prefix.size(prefix) >= 64n);
    if (this.#pastRouters && roomy && this.#taken < ROUTER_ROOM) this.#taken = ROUTER_ROOM;
    do this.#taken += 1n;
    while (
      prefixes.some(
        (prefix) =>
          this.#taken < Prefix.size(prefix) && this.#fixed.has(Prefix.nth(prefix, this.#taken)),
      )
    );
    return this.#taken;
  }

  #nth(prefix: Prefix, index: bigint, place: string): Address {
    // The last address of an IPv4 subnet is its broadcast address.
    const last = Prefix.size(prefix) - (Prefix.family(prefix) === 'ipv4' ? 2n : 1n);
    if (index > last)
      throw new LabError(
        'lab-file-invalid',
        `rack ${this.#rack.name} (${prefix}) has no address left for ${place}`,
        { value: prefix, hint: 'give the rack a shorter prefix or put fewer machines on it' },
      );
    return Prefix.nth(prefix, index);
  }
}
