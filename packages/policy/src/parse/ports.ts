import type { PortMatch } from '../model.ts';
import { PORT_PROTOCOLS, PROTOCOL } from '../protocols.ts';
import { type Fields, type Json, present } from './fields.ts';
import { icmpType } from './icmp.ts';

/** Cilium's bound on ports in one port rule and types in one ICMP rule. */
const MAX_PORTS = 40;

/** RFC 6335 section 5.1: letters, digits, inner single hyphens, at least one letter, 15 at most. */
export const isPortName = (text: string): boolean =>
  text.length <= 15 && /^(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/i.test(text);

/** `ports` of a NetworkPolicy rule: TCP unless it says otherwise; no port means all ports. */
export function readKubernetesPort(fields: Fields, value: unknown, path: string): PortMatch[] {
  const given = fields.object(value, path, ['protocol', 'port', 'endPort']);
  if (given === undefined) {
    fields.refuse('invalid', path, 'must be an object', value);
    return [];
  }
  const name = fields.string(given.protocol, `${path}.protocol`) ?? 'TCP';
  const protocol = new Map([
    ['TCP', PROTOCOL.tcp],
    ['UDP', PROTOCOL.udp],
    ['SCTP', PROTOCOL.sctp],
  ]).get(name);
  if (protocol === undefined) {
    fields.refuse('invalid', `${path}.protocol`, 'must be TCP, UDP or SCTP', name);
    return [];
  }
  const port = given.port;
  if (!present(port)) {
    if (present(given.endPort)) {
      fields.refuse('invalid', `${path}.endPort`, 'needs a port to start from', given.endPort);
      return [];
    }
    return [{ type: 'range', protocol, first: 0, last: 0xffff }];
  }
  if (typeof port === 'number') return range(fields, given, path, [protocol], port, port, false);
  return named(fields, given, path, [protocol], port);
}

/** `toPorts[n]` of a Cilium rule: its `ports`; everything above layer 4 is refused. */
export function readPortRule(fields: Fields, value: unknown, path: string): PortMatch[] {
  const given = fields.object(value, path, [
    'ports',
    'rules',
    'terminatingTLS',
    'originatingTLS',
    'serverNames',
    'listener',
  ]);
  if (given === undefined) return [];
  const l7 =
    'is layer 7, which is not enforced yet; without it the rule would allow more than it says';
  fields.unsupported(given, path, {
    terminatingTLS: l7,
    originatingTLS: l7,
    serverNames: l7,
    listener: l7,
  });
  if (present(given.rules) && Object.keys(given.rules as object).length > 0) {
    fields.refuse('unsupported', `${path}.rules`, l7, given.rules);
  }
  const ports = fields.list(given.ports, `${path}.ports`, MAX_PORTS) ?? [];
  return ports.flatMap((each, index) => readCiliumPort(fields, each, `${path}.ports[${index}]`));
}

function readCiliumPort(fields: Fields, value: unknown, path: string): PortMatch[] {
  const given = fields.object(value, path, ['port', 'endPort', 'protocol']);
  if (given === undefined) {
    fields.refuse('invalid', path, 'must be an object', value);
    return [];
  }
  const protocols = ciliumProtocols(fields, given, path);
  const port = fields.string(given.port, `${path}.port`);
  if (port === undefined || port === '') {
    fields.refuse('invalid', `${path}.port`, 'must be a port, a port name, or "0" for all ports');
    return [];
  }
  if (!/^[0-9]+$/.test(port)) return named(fields, given, path, protocols, port);
  return range(fields, given, path, protocols, Number(port), port, true);
}

function ciliumProtocols(fields: Fields, given: Json, path: string): readonly number[] {
  const name = (fields.string(given.protocol, `${path}.protocol`) ?? '').toUpperCase();
  switch (name) {
    case '':
    case 'ANY':
      return PORT_PROTOCOLS;
    case 'TCP':
      return [PROTOCOL.tcp];
    case 'UDP':
      return [PROTOCOL.udp];
    case 'SCTP':
      return [PROTOCOL.sctp];
    case 'ICMP':
    case 'ICMPV6':
      fields.refuse('invalid', `${path}.protocol`, 'has no ports; use the icmps list', name);
      return [];
    case 'VRRP':
    case 'IGMP':
      fields.refuse('unsupported', `${path}.protocol`, 'is not enforced here', name);
      return [];
    default:
      fields.refuse('invalid', `${path}.protocol`, 'must be TCP, UDP, SCTP or ANY', name);
      return [];
  }
}

/** @param zeroIsAll Cilium's port 0 stands for every port; Kubernetes has no port 0. */
function range(
  fields: Fields,
  given: Json,
  path: string,
  protocols: readonly number[],
  first: number,
  shown: unknown,
  zeroIsAll: boolean,
): PortMatch[] {
  const least = zeroIsAll ? 0 : 1;
  if (!Number.isInteger(first) || first < least || first > 0xffff) {
    fields.refuse('invalid', `${path}.port`, `must be ${least} to 65535`, shown);
    return [];
  }
  const end = given.endPort;
  // Cilium's schema has 0 as "not given".
  const hasEnd = present(end) && !(zeroIsAll && end === 0);
  if (hasEnd && (!Number.isInteger(end) || (end as number) > 0xffff || (end as number) < first)) {
    fields.refuse('invalid', `${path}.endPort`, `must be ${first} to 65535`, end);
    return [];
  }
  if (first === 0 && hasEnd) {
    fields.refuse(
      'conflict',
      `${path}.endPort`,
      'cannot end a range that starts at 0, which means all ports',
      end,
    );
    return [];
  }
  const last = first === 0 ? 0xffff : hasEnd ? (end as number) : first;
  return protocols.map((protocol) => ({ type: 'range', protocol, first, last }));
}

function named(
  fields: Fields,
  given: Json,
  path: string,
  protocols: readonly number[],
  name: unknown,
): PortMatch[] {
  if (typeof name !== 'string' || !isPortName(name)) {
    fields.refuse('invalid', `${path}.port`, 'must be a number or a port name', name);
    return [];
  }
  if (present(given.endPort) && given.endPort !== 0) {
    fields.refuse('conflict', `${path}.endPort`, 'cannot end a range that starts at a port name');
    return [];
  }
  return protocols.map((protocol) => ({ type: 'named', protocol, name: name.toLowerCase() }));
}

/** `icmps[n]`: its `fields`; the family is IPv4 unless it says otherwise. */
export function readIcmpRule(fields: Fields, value: unknown, path: string): PortMatch[] {
  const given = fields.object(value, path, ['fields']);
  const list = fields.list(given?.fields, `${path}.fields`, MAX_PORTS) ?? [];
  return list.flatMap((each, index): PortMatch[] => {
    const at = `${path}.fields[${index}]`;
    const field = fields.object(each, at, ['family', 'type']);
    const family = fields.string(field?.family, `${at}.family`) || 'IPv4';
    if (family !== 'IPv4' && family !== 'IPv6') {
      fields.refuse('invalid', `${at}.family`, 'must be IPv4 or IPv6', family);
      return [];
    }
    const type = icmpType(family, field?.type);
    if (type === undefined) {
      const names = `must be 0 to 255 or the name of an ${family === 'IPv4' ? 'ICMP' : 'ICMPv6'} type`;
      fields.refuse('invalid', `${at}.type`, names, field?.type);
      return [];
    }
    const protocol = family === 'IPv4' ? PROTOCOL.icmp : PROTOCOL.icmpv6;
    return [{ type: 'range', protocol, first: type, last: type }];
  });
}
