import { ByteWriter } from '@causeway/wire';
import { invalidArgument } from '../errors.ts';
import type { Netns } from '../netns.ts';
import type { AddressBytes } from '../sockets.ts';
import { encodeAttributes, writeAttributes } from './attributes.ts';
import { checkIfindex, versionOfAddress } from './family.ts';
import {
  bridgeTable,
  type LinkAttributes,
  LinkFlag,
  LinkType,
  linkHeaderSize,
  linkTable,
  vethTable,
  vxlanTable,
} from './link.ts';
import { type FollowUp, NlFlag, type RtRequest } from './message.ts';

/** What a new link gets or an old one is changed to. What is not given stays. */
export interface LinkSettings {
  readonly name?: string;
  /** Six bytes. */
  readonly mac?: Uint8Array;
  readonly mtu?: number;
  readonly up?: boolean;
  readonly noArp?: boolean;
  readonly multicast?: boolean;
  readonly allMulticast?: boolean;
  readonly promiscuous?: boolean;
  /** Index of the bridge; 0 takes it out. */
  readonly master?: number;
  readonly alias?: string;
  /** Bytes. Above 65536: BIG TCP, for IPv6 since Linux 5.19, for IPv4 by the next two since 6.3. */
  readonly gsoMaxSize?: number;
  readonly groMaxSize?: number;
  readonly gsoIpv4MaxSize?: number;
  readonly groIpv4MaxSize?: number;
  readonly txQueueLength?: number;
  /** A number that links share, for `deleteLinkGroup`; 0 by default. */
  readonly group?: number;
  /** Moves it there, or makes it there. */
  readonly namespace?: Netns;
  /** How IPv6 makes the link-local address when the link comes up; 'none': not at all. */
  readonly addressGeneration?: 'eui64' | 'none' | 'stable';
}

export type LinkSelector = { readonly index: number } | { readonly name: string };

export interface NewLink extends LinkSettings {
  readonly name: string;
  /** An interface index of our choice; the kernel refuses one in use. */
  readonly index?: number;
}

export interface VethSpec extends NewLink {
  readonly peer: NewLink;
}

export interface VxlanSpec extends NewLink {
  /** UDP. */
  readonly port: number;
  /** Absent: collect-metadata ("external") mode, where the program sets VNI and remote per packet. */
  readonly vni?: number;
  readonly learning?: boolean;
  /** Sends and takes UDP over IPv6 without a checksum (RFC 6935). */
  readonly udp6ZeroChecksum?: boolean;
  readonly local?: AddressBytes;
  readonly underlayIfindex?: number;
}

export interface BridgeSpec extends NewLink {
  readonly vlanFiltering?: boolean;
  readonly stp?: boolean;
  readonly multicastSnooping?: boolean;
}

const schema = { headerSize: linkHeaderSize, table: linkTable };
const addressGenerationModes = { eui64: 0, none: 1, stable: 2 } as const;

function checkName(name: string, field = 'name'): void {
  // dev_valid_name() of the kernel.
  if (!/^[^\s/:]{1,15}$/.test(name) || name === '.' || name === '..') {
    throw invalidArgument(
      'netlink',
      `${field} ${JSON.stringify(name)} is no interface name: 1 to 15 characters without space, / and :`,
      name,
    );
  }
}

function header(writer: ByteWriter, index: number, flags: number, change: number): void {
  writer.u8(0).u8(0).u16(0).i32(index).u32(flags).u32(change);
}

function flagsOf(settings: LinkSettings): { flags: number; change: number } {
  let flags = 0;
  let change = 0;
  for (const name of ['up', 'noArp', 'multicast', 'allMulticast', 'promiscuous'] as const) {
    const value = settings[name];
    if (value === undefined) continue;
    change |= LinkFlag[name];
    if (value) flags |= LinkFlag[name];
  }
  return { flags, change };
}

function attributesOf(settings: LinkSettings): LinkAttributes {
  if (settings.name !== undefined) checkName(settings.name);
  if (settings.mac !== undefined && settings.mac.length !== 6) {
    throw invalidArgument('netlink', `mac has 6 bytes, not ${settings.mac.length}`, settings.mac);
  }
  const mode = settings.addressGeneration;
  return {
    address: settings.mac,
    name: settings.name,
    mtu: settings.mtu,
    master: settings.master,
    txQueueLength: settings.txQueueLength,
    alias: settings.alias,
    group: settings.group,
    familySpec: mode && { inet6: { addressGeneration: addressGenerationModes[mode] } },
    namespaceFd: settings.namespace?.fd.number,
    gsoMaxSize: settings.gsoMaxSize,
    groMaxSize: settings.groMaxSize,
    gsoIpv4MaxSize: settings.gsoIpv4MaxSize,
    groIpv4MaxSize: settings.groIpv4MaxSize,
  };
}

function message(settings: LinkSettings, index: number, extra: LinkAttributes = {}): Uint8Array {
  const writer = new ByteWriter('little', 256);
  const { flags, change } = flagsOf(settings);
  header(writer, index, flags, change);
  writeAttributes(writer, linkTable, { ...attributesOf(settings), ...extra });
  return writer.finish();
}

/** RTM_NEWLINK takes neither alias nor address generation: they follow, and `up` after them. */
function split(spec: NewLink, upLater: boolean): { first: LinkSettings; later?: FollowUp } {
  const { alias, addressGeneration, up, ...rest } = spec;
  if (alias === undefined && addressGeneration === undefined && !(upLater && up)) {
    return { first: spec };
  }
  const settings: LinkSettings = {
    ...(alias !== undefined && { alias }),
    ...(addressGeneration !== undefined && { addressGeneration }),
    ...(up !== undefined && { up }),
  };
  const request = setLink({ name: spec.name }, settings);
  return {
    first: rest,
    later: spec.namespace === undefined ? { request } : { request, namespace: spec.namespace },
  };
}

function create(
  spec: NewLink,
  linkinfo: NonNullable<LinkAttributes['linkinfo']>,
  followUps: readonly FollowUp[] = [],
): RtRequest {
  if (spec.index !== undefined) checkIfindex(spec.index, 'index');
  const { first, later } = split(spec, false);
  const all = later === undefined ? followUps : [later, ...followUps];
  return {
    type: LinkType.new,
    flags: NlFlag.create | NlFlag.exclusive,
    name: `new-link ${spec.name}`,
    body: message(first, spec.index ?? 0, { linkinfo }),
    schema,
    ...(all.length > 0 && { followUps: all }),
    ...(all.length > 0 &&
      spec.namespace === undefined && { undo: deleteLink({ name: spec.name }) }),
  };
}

/** A veth pair. The peer goes to peer.namespace, or to the namespace of the socket. */
export function createVeth(spec: VethSpec): RtRequest {
  const { peer, ...own } = spec;
  checkName(peer.name, 'peer.name');
  if (peer.index !== undefined) checkIfindex(peer.index, 'peer.index');
  // The kernel makes the peer first, and a lone end of a pair cannot be set up (ENOTCONN).
  const { first, later } = split(peer, true);
  const data = encodeAttributes(vethTable, { peer: message(first, peer.index ?? 0) });
  return create(own, { kind: 'veth', data }, later === undefined ? [] : [later]);
}

export function createVxlan(spec: VxlanSpec): RtRequest {
  const { port, vni, learning, udp6ZeroChecksum, local, underlayIfindex, ...own } = spec;
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw invalidArgument('netlink', `port ${port} is no UDP port`, port);
  }
  const localIs6 = local !== undefined && versionOfAddress(local, 'local') === 6;
  const data = encodeAttributes(vxlanTable, {
    id: vni,
    underlay: underlayIfindex,
    ...(local !== undefined && (localIs6 ? { local6: local } : { local })),
    learning: learning ?? false,
    port,
    udp6ZeroChecksumTx: udp6ZeroChecksum,
    udp6ZeroChecksumRx: udp6ZeroChecksum,
    collectMetadata: vni === undefined ? true : undefined,
  });
  return create(own, { kind: 'vxlan', data });
}

export function createBridge(spec: BridgeSpec): RtRequest {
  const { vlanFiltering, stp, multicastSnooping, ...own } = spec;
  const data = encodeAttributes(bridgeTable, {
    stp: stp === undefined ? undefined : Number(stp),
    vlanFiltering,
    multicastSnooping,
  });
  return create(own, { kind: 'bridge', data });
}

function selected(which: LinkSelector): { index: number; extra: LinkAttributes; text: string } {
  if ('index' in which) {
    checkIfindex(which.index, 'index');
    return { index: which.index, extra: {}, text: `#${which.index}` };
  }
  checkName(which.name);
  return { index: 0, extra: { name: which.name }, text: which.name };
}

/**
 * Renaming takes the index as selector: by name the new name would stand for the old. The kernel
 * works flags off before the address generation, and would make a link-local address first: so `up`
 * follows by itself when both are given.
 */
export function setLink(which: LinkSelector, settings: LinkSettings): RtRequest {
  const { index, extra, text } = selected(which);
  if (index === 0 && settings.name !== undefined) {
    throw invalidArgument('netlink', 'a link is renamed by its index', settings.name);
  }
  const { up, ...first } = settings;
  const upFollows = up === true && settings.addressGeneration !== undefined;
  if (upFollows && settings.namespace !== undefined) {
    throw invalidArgument('netlink', `${text}: a link that moves is set up in its new namespace`);
  }
  return {
    type: LinkType.set,
    flags: 0,
    name: `set-link ${text}`,
    body: message(upFollows ? first : settings, index, extra),
    schema,
    ...(upFollows && { followUps: [{ request: setLink(which, { up }) }] }),
  };
}

export function deleteLink(which: LinkSelector): RtRequest {
  const { index, extra, text } = selected(which);
  return {
    type: LinkType.delete,
    flags: 0,
    name: `delete-link ${text}`,
    body: message({}, index, extra),
    schema,
  };
}

/**
 * Deletes every link of a group at once: the kernel waits for its readers (RCU) once, not per link,
 * which is nearly all that a deletion costs. Throws not-found when the group is empty.
 */
export function deleteLinkGroup(group: number): RtRequest {
  if (!Number.isInteger(group) || group < 1 || group > 0x7fff_ffff) {
    throw invalidArgument('netlink', `group ${group} is not within 1 to 2147483647`, group);
  }
  return {
    type: LinkType.delete,
    flags: 0,
    name: `delete-link-group ${group}`,
    body: message({ group }, 0),
    schema,
  };
}

/** For RTM_GETLINK. */
export function getLink(which: LinkSelector): RtRequest {
  const { index, extra, text } = selected(which);
  return {
    type: LinkType.get,
    flags: 0,
    name: `get-link ${text}`,
    body: message({}, index, { ...extra, extraMask: 0 }),
    schema,
  };
}
