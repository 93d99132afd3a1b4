import type { Platform, SourceItem } from '../../source.ts';
import type { OpenStackSourceConfig } from './config.ts';
import type { Port, Server } from './objects.ts';

/** Labels that only this adapter writes; tags and metadata, which projects write, never land here. */
const OWN = 'openstack.causeway.io/';

/** Names by id; one that is known to have none is ''. */
export interface Names {
  readonly projects: ReadonlyMap<string, string>;
  readonly networks: ReadonlyMap<string, string>;
}

export type MappingOptions = Pick<
  OpenStackSourceConfig,
  'labelsFrom' | 'projectAsNamespace' | 'deviceOwners' | 'projects' | 'networks' | 'tags'
>;

/** Whether a port is a machine's and within what the configuration asks for. */
export function takesPart(port: Port, options: MappingOptions): boolean {
  const within = (allowed: readonly string[], value: string) =>
    allowed.length === 0 || allowed.includes(value);
  return (
    isMachine(port.deviceOwner, options.deviceOwners) &&
    within(options.projects, port.project) &&
    within(options.networks, port.network) &&
    options.tags.every((tag) => port.tags.includes(tag))
  );
}

export function isMachine(owner: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) =>
    pattern.endsWith('*') ? owner.startsWith(pattern.slice(0, -1)) : owner === pattern,
  );
}

/** A port and the server behind it, if there is one, as an item of the inventory: one for each port. */
export function itemOf(
  port: Port,
  server: Server | undefined,
  names: Names,
  options: MappingOptions,
): SourceItem {
  const project = names.projects.get(port.project) ?? '';
  const tags = tagsOf([...port.tags, ...(server?.tags ?? [])]);
  const facts: Record<string, string> = {
    project: port.project,
    'project-name': project,
    network: port.network,
    'network-name': names.networks.get(port.network) ?? '',
    'device-owner': port.deviceOwner,
    'port-name': port.name,
    'port-status': port.status,
    'vnic-type': port.vnicType,
    host: port.host === '' ? (server?.host ?? '') : port.host,
    server: server?.id ?? '',
    'server-name': server?.name ?? '',
    'server-status': server?.status ?? '',
    'availability-zone': server?.zone ?? '',
    'allowed-address-pairs': port.pairs.join(' '),
  };
  const attributes = new Map(Object.entries(facts).filter(([, value]) => value !== ''));
  for (const [key, value] of tags) attributes.set(`tag/${key}`, value);
  for (const [key, value] of Object.entries(server?.metadata ?? {}))
    attributes.set(`metadata/${key}`, value);

  const labels = new Map<string, string>();
  const write = (source: Iterable<readonly [string, string]>) => {
    for (const [key, value] of source) if (!key.startsWith(OWN)) labels.set(key, value);
  };
  // A tag is the more deliberate word than metadata, which tools write too.
  if (options.labelsFrom.includes('metadata')) write(Object.entries(server?.metadata ?? {}));
  if (options.labelsFrom.includes('tags')) write(tags);
  if (options.labelsFrom.includes('project')) {
    if (port.project !== '') labels.set(`${OWN}project`, port.project);
    if (project !== '') labels.set(`${OWN}project-name`, project);
  }
  return {
    id: port.id,
    name: nameOf(server?.name ?? '') || nameOf(port.name) || port.id,
    addresses: port.addresses,
    platform: platformOf(port),
    labels: Object.fromEntries(labels),
    attributes: Object.fromEntries(attributes),
    ...(options.projectAsNamespace && port.project !== ''
      ? { namespace: namespaceOf(project, port.project) }
      : {}),
  };
}

/** `key=value` is a label with a value, anything else one without. The first of a key stays. */
function tagsOf(tags: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const tag of tags) {
    const at = tag.indexOf('=');
    const key = at < 0 ? tag : tag.slice(0, at);
    if (key !== '' && !found.has(key)) found.set(key, at < 0 ? '' : tag.slice(at + 1));
  }
  return found;
}

/** Nova takes longer names than an item has, and any characters. */
const nameOf = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not come in.
  text.replace(/[\u0000-\u001f\u007f\u2028\u2029]/g, '').slice(0, 253);

function platformOf(port: Port): Platform {
  if (port.deviceOwner.startsWith('baremetal:') || port.vnicType === 'baremetal')
    return 'bare-metal';
  // Kuryr makes ports for pods, and says so in the zone's place.
  return port.deviceOwner === 'compute:kuryr' || port.deviceOwner === 'trunk:subport'
    ? 'pod'
    : 'vm';
}

/** A project's name is free text; where it is no DNS label its id is, but for case and dashes. */
function namespaceOf(name: string, id: string): string {
  const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
  const lower = name.toLowerCase();
  return label.test(lower) ? lower : id.toLowerCase().replace(/[^-a-z0-9]/g, '-');
}
