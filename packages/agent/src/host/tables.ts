import type { Address } from '@causeway/ip';
import type { Database, Table } from '@causeway/tables';
import type { DeviceView } from './devices.ts';
import type { DesiredRoute } from './routes.ts';

/** A device of ours that shall exist. */
export type DesiredLink =
  | { readonly type: 'veth'; readonly name: string; readonly peer: string; readonly mtu: number }
  | { readonly type: 'vxlan'; readonly name: string; readonly port: number; readonly mtu: number };

/** An address of ours, always as a host prefix: the pod CIDR's route is a row of its own. */
export interface DesiredAddress {
  readonly address: Address;
  readonly device: string;
}

/** A setting under /proc/sys. `ports` adds a range to a list of ports and leaves
 * the rest of the list; `reverse-path` makes a filter of reverse paths let everything through. */
export type DesiredSysctl =
  | { readonly type: 'value'; readonly name: string; readonly value: string }
  | { readonly type: 'reverse-path'; readonly name: string }
  | {
      readonly type: 'ports';
      readonly name: string;
      readonly first: number;
      readonly last: number;
    };

export interface HostTables {
  /** Observed: devices of the node that are not ours. */
  readonly devices: Table<DeviceView, number>;
  readonly links: Table<DesiredLink>;
  readonly addresses: Table<DesiredAddress>;
  readonly routes: Table<DesiredRoute>;
  readonly sysctls: Table<DesiredSysctl>;
}

export function hostTables(database: Database): HostTables {
  return {
    devices: database.table({ name: 'devices', key: (row: DeviceView) => row.index }),
    links: database.table({ name: 'host-links', key: (row: DesiredLink) => row.name }),
    addresses: database.table({
      name: 'host-addresses',
      key: (row: DesiredAddress): string => row.address,
    }),
    routes: database.table({ name: 'host-routes', key: (row: DesiredRoute): string => row.prefix }),
    sysctls: database.table({ name: 'host-sysctls', key: (row: DesiredSysctl) => row.name }),
  };
}
