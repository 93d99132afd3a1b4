import { IpamError } from './errors.ts';

/** Who holds an address: one attachment, as CNI names it. */
export interface Owner {
  readonly containerId: string;
  readonly ifname: string;
}

/** Owners compare by this text. Neither part may hold the slash that joins them (CNI forbids it in both). */
export function ownerKey(owner: Owner): string {
  return `${part('containerId', owner.containerId)}/${part('ifname', owner.ifname)}`;
}

function part(field: string, value: unknown): string {
  if (
    typeof value === 'string' &&
    value.length > 0 &&
    value.length <= 256 &&
    !/[/\s]/.test(value)
  ) {
    return value;
  }
  throw new IpamError('owner-invalid', `owner.${field} is not a usable name`, {
    field: `owner.${field}`,
    value,
    hint: 'give 1 to 256 characters without a slash or white space',
  });
}
