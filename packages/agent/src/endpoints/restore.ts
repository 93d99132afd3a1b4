import { type Log, messageWithCauses, type RecordStore } from '@causeway/daemon';
import { RESERVED, reservedLabels } from '@causeway/identity';
import { Address, Prefix } from '@causeway/ip';
import type { EndpointMapRow } from '../policy/maps.ts';
import { formatAlias, parseAlias } from './alias.ts';
import type { EndpointKernel, HostLink } from './kernel.ts';
import type { EndpointManager } from './manager.ts';
import { hostIfnameOf } from './names.ts';
import type { AddressPool, EndpointPrograms } from './ports.ts';
import type { EndpointRecord } from './record.ts';

export interface RestoreOptions {
  readonly state: RecordStore<EndpointRecord>;
  readonly kernel: EndpointKernel;
  readonly programs: EndpointPrograms;
  readonly addresses: AddressPool;
  readonly manager: EndpointManager;
  /**
   * What the kernel still tells of an endpoint whose record is lost: rows of the endpoints map with
   * this device. Undefined if there are none.
   */
  readonly recover: (link: HostLink) => EndpointRecord | undefined;
  readonly log: Log;
}

export interface RestoreReport {
  readonly restored: number;
  /** Records whose interface is gone or another's, and attachments that never became ready. */
  readonly cleaned: readonly string[];
  /** Endpoints found again without a record. */
  readonly recovered: readonly string[];
  /** State files that could not be believed. */
  readonly refused: readonly string[];
}

/**
 * Brings endpoints back after a restart: what record and kernel agree on goes on without a gap; what
 * only one of them knows is taken apart, so that nothing is left that nobody owns.
 */
export async function restoreEndpoints(options: RestoreOptions): Promise<RestoreReport> {
  const { state, kernel, programs, addresses, manager, log } = options;
  const { records, refused } = state.load();
  const links = new Map(kernel.hostLinks().map((link) => [link.name, link]));
  const cleaned: string[] = [];
  const recovered: string[] = [];

  const good: EndpointRecord[] = [];
  const bad: { record: EndpointRecord; reason: string }[] = [];
  for (const record of records.values()) {
    const reason = mismatch(record, links.get(record.hostIfname));
    if (reason === undefined) good.push(record);
    else bad.push({ record, reason });
  }
  const known = new Set(
    [...good, ...bad.map(({ record }) => record)].map(({ hostIfname }) => hostIfname),
  );

  // A device that says it is ours and has no record: its record was cut short, or never written.
  for (const link of links.values()) {
    const alias = parseAlias(link.alias);
    if (alias === undefined || known.has(link.name)) continue;
    if (link.name !== hostIfnameOf(alias.containerId, alias.ifname)) continue;
    const record = options.recover(link);
    known.add(link.name);
    if (record === undefined || good.some(({ id }) => id === record.id)) {
      await kernel.removeInterface(link.name);
      cleaned.push(`${link.name}: no record and no rows in the kernel`);
      continue;
    }
    await state.write(String(record.id), record);
    good.push(record);
    recovered.push(`${link.name}: endpoint ${record.id} from the kernel's rows`);
  }

  for (const conflict of addresses.restore(good)) {
    log.warn({ conflict }, 'a restored address does not fit the pod CIDRs; its pod keeps it');
  }
  for (const { record, reason } of bad) {
    // The device may be somebody else's by now: only what is surely ours goes.
    const link = links.get(record.hostIfname);
    const ours = link === undefined || link.alias === formatAlias(record);
    await manager.removeRecord({ ...record, chained: record.chained || !ours });
    cleaned.push(`${record.hostIfname}: ${reason}`);
  }
  for (const name of programs.devices()) {
    if (known.has(name)) continue;
    programs.detach(name);
    cleaned.push(`${name}: pinned programs without an endpoint`);
  }
  for (const record of good) {
    try {
      manager.adopt(record);
    } catch (error) {
      // Its pinned programs and rows may well be at work; the others must not wait for it.
      manager.fail(record, `not restored: ${messageWithCauses(error)}`);
      log.error(
        { endpoint: record.id, error: messageWithCauses(error) },
        'cannot restore an endpoint',
      );
    }
  }
  return {
    restored: good.length,
    cleaned,
    recovered,
    refused: refused.map(({ error }) => error.message),
  };
}

/** Why a record is not of this device; interface indexes and names are both used again by the kernel. */
function mismatch(record: EndpointRecord, link: HostLink | undefined): string | undefined {
  if (record.step !== 'ready') return `the attachment was ${record.step} when the agent ended`;
  if (link === undefined) return 'its interface is gone, and the pod with it';
  if (link.index !== record.hostIfindex) {
    return `the device has index ${link.index}, not ${record.hostIfindex}: it is another one`;
  }
  if (record.chained) return undefined;
  if (link.alias !== formatAlias(record))
    return 'the device does not bear our alias: it is another one';
  return undefined;
}

/**
 * Rebuilds the record of an endpoint whose file is lost from its device's alias and its rows in the
 * endpoints map. Labels are not in the kernel: they are asked for again, and until then the rows keep
 * the identity that they have.
 */
export function recoverFromRows(
  link: HostLink,
  rows: Iterable<EndpointMapRow>,
  gateways: readonly { readonly prefix: Prefix; readonly gateway: Address }[],
): EndpointRecord | undefined {
  const alias = parseAlias(link.alias);
  const own = [...rows].filter((row) => row.ifindex === link.index && row.endpointId === alias?.id);
  const [first] = own;
  if (alias === undefined || first === undefined) return undefined;
  const of = (family: 'ipv4' | 'ipv6') =>
    own.find(({ address }) => Address.family(address) === family)?.address;
  const gatewayOf = (address: Address | undefined) =>
    address && gateways.find(({ prefix }) => Prefix.contains(prefix, address))?.gateway;
  return {
    id: alias.id,
    step: 'ready',
    containerId: alias.containerId,
    ifname: alias.ifname,
    hostIfname: link.name,
    hostIfindex: link.index,
    netns: '',
    netnsIdentity: '',
    addresses: { ipv4: of('ipv4'), ipv6: of('ipv6') },
    gateways: { ipv4: gatewayOf(of('ipv4')), ipv6: gatewayOf(of('ipv6')) },
    mac: first.mac,
    hostMac: first.hostMac,
    mtu: link.mtu,
    chained: false,
    podNamespace: alias.podNamespace,
    podName: alias.podName,
    podUid: undefined,
    callerLabels: {},
    labels: reservedLabels(RESERVED.init)!.text,
    identity: first.identity,
    namedPorts: [],
    policyAudit: false,
  };
}
