import type { Database, Table } from '@causeway/tables';
import type { Endpoint, EndpointState } from '../api/types.ts';
import { attachmentKey, type EndpointRecord } from './record.ts';

/** What is enforced for an endpoint at this moment. */
export interface EnforcedPolicy {
  readonly policyId: number;
  readonly revision: number;
  readonly ingress: 'off' | 'audit' | 'enforced';
  readonly egress: 'off' | 'audit' | 'enforced';
}

export interface EndpointRow {
  readonly record: EndpointRecord;
  readonly state: EndpointState;
  readonly stateReason?: string;
  readonly policy?: EnforcedPolicy;
}

export type EndpointTable = Table<EndpointRow, number, 'attachment' | 'device' | 'address' | 'pod'>;

export function endpointTable(database: Database): EndpointTable {
  return database.table({
    name: 'endpoints',
    key: (row: EndpointRow) => row.record.id,
    indexes: {
      attachment: { unique: true, keys: ({ record }) => attachmentKey(record) },
      device: { unique: true, keys: ({ record }) => record.hostIfname },
      address: { keys: ({ record }) => addressList(record) },
      pod: {
        keys: ({ record }) =>
          record.podName === undefined ? undefined : `${record.podNamespace}/${record.podName}`,
      },
    },
    columns: [
      { name: 'id', of: ({ record }) => record.id },
      { name: 'pod', of: ({ record }) => podText(record) },
      { name: 'ipv4', of: ({ record }) => record.addresses.ipv4 ?? '' },
      { name: 'ipv6', of: ({ record }) => record.addresses.ipv6 ?? '' },
      { name: 'identity', of: ({ record }) => record.identity },
      { name: 'device', of: ({ record }) => record.hostIfname },
      { name: 'state', of: ({ state }) => state },
    ],
  });
}

export function addressList(record: EndpointRecord): string[] {
  return [record.addresses.ipv4, record.addresses.ipv6].filter((each) => each !== undefined);
}

export const podText = (record: EndpointRecord): string =>
  record.podName === undefined
    ? `${record.containerId.slice(0, 12)}/${record.ifname}`
    : `${record.podNamespace}/${record.podName}`;

/** The row as the API shows it. */
export function toApi({ record, state, stateReason, policy }: EndpointRow): Endpoint {
  return {
    id: record.id,
    containerId: record.containerId,
    ifname: record.ifname,
    hostIfname: record.hostIfname,
    hostIfindex: record.hostIfindex,
    addresses: family(record.addresses),
    gateways: family(record.gateways),
    mac: record.mac,
    hostMac: record.hostMac,
    mtu: record.mtu,
    identity: record.identity,
    labels: record.labels.split(';').filter((each) => each !== ''),
    ...(record.podNamespace === undefined ? {} : { podNamespace: record.podNamespace }),
    ...(record.podName === undefined ? {} : { podName: record.podName }),
    state,
    ...(stateReason === undefined ? {} : { stateReason }),
    policy: {
      ingress: policy?.ingress === 'enforced',
      egress: policy?.egress === 'enforced',
      audit: record.policyAudit || policy?.ingress === 'audit' || policy?.egress === 'audit',
    },
  };
}

function family(of: { ipv4?: string | undefined; ipv6?: string | undefined }) {
  return {
    ...(of.ipv4 === undefined ? {} : { ipv4: of.ipv4 }),
    ...(of.ipv6 === undefined ? {} : { ipv6: of.ipv6 }),
  };
}
