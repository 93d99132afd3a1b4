import { CniCode, CniError, shown } from './errors.ts';
import { type CniVersion, rulesOf } from './versions.ts';

/** Section 5 of the specification, "ADD Success", in the newest form. Unknown keys pass through. */
export interface CniResult {
  readonly cniVersion: string;
  readonly interfaces: readonly ResultInterface[];
  readonly ips: readonly ResultIp[];
  readonly routes: readonly ResultRoute[];
  readonly dns?: Readonly<Record<string, unknown>>;
}

export interface ResultInterface {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  readonly sandbox?: string;
}

export interface ResultIp {
  /** With its prefix length: `10.0.1.5/32`. */
  readonly address: string;
  readonly gateway?: string;
  /** Index into `interfaces`. */
  readonly interface?: number;
  /** "4" or "6", up to 0.4.0. */
  readonly version?: string;
}

export interface ResultRoute {
  readonly dst: string;
  readonly gw?: string;
}

/** What the agent says of an attachment, as far as results need it. */
export interface AttachedEndpoint {
  readonly hostIfname: string;
  readonly addresses: FamilyAddresses;
  readonly gateways: FamilyAddresses;
  readonly mac: string;
  readonly hostMac: string;
  readonly mtu: number;
}

export interface FamilyAddresses {
  readonly ipv4?: string;
  readonly ipv6?: string;
}

/** Another plugin's result. Throws CniError 7 with the field that is wrong. */
export function parsePrevResult(value: Readonly<Record<string, unknown>>): CniResult {
  const field = (name: string, problem: unknown, want: string) =>
    new CniError(
      CniCode.invalidConfig,
      `prevResult.${name} is ${shown(problem)}, not ${want}`,
      'The plugin before causeway-cni, or the runtime, wrote it.',
    );
  const list = (name: string): Record<string, unknown>[] => {
    const items = value[name] ?? [];
    if (!Array.isArray(items)) throw field(name, items, 'a list');
    return items.map((item: unknown, i) => {
      if (typeof item === 'object' && item !== null) return item as Record<string, unknown>;
      throw field(`${name}[${i}]`, item, 'an object');
    });
  };
  const interfaces = list('interfaces');
  for (const [i, { name, sandbox }] of interfaces.entries()) {
    if (typeof name !== 'string') throw field(`interfaces[${i}].name`, name, 'a string');
    if (sandbox !== undefined && typeof sandbox !== 'string') {
      throw field(`interfaces[${i}].sandbox`, sandbox, 'a string');
    }
  }
  const ips = list('ips');
  for (const [i, ip] of ips.entries()) {
    if (typeof ip.address !== 'string' || !/^[0-9a-fA-F.:]+\/\d{1,3}$/.test(ip.address)) {
      throw field(`ips[${i}].address`, ip.address, 'an address with its prefix length');
    }
    if (ip.gateway !== undefined && typeof ip.gateway !== 'string') {
      throw field(`ips[${i}].gateway`, ip.gateway, 'a string');
    }
    const index = ip.interface;
    if (index === undefined || index === null) continue;
    if (!Number.isInteger(index) || interfaces[index as number] === undefined) {
      throw field(`ips[${i}].interface`, index, 'the index of an interface');
    }
  }
  const routes = list('routes');
  for (const [i, route] of routes.entries()) {
    if (typeof route.dst !== 'string') throw field(`routes[${i}].dst`, route.dst, 'a string');
  }
  return { ...value, interfaces, ips, routes } as unknown as CniResult;
}

/** The result of an attachment that is ours alone, or beside what plugins before us made. */
export function resultOf(
  endpoint: AttachedEndpoint,
  ifname: string,
  netns: string,
  before: CniResult | undefined,
  dns: Readonly<Record<string, unknown>> | undefined,
): CniResult {
  const interfaces = [
    ...(before?.interfaces ?? []),
    { name: endpoint.hostIfname, mac: endpoint.hostMac, mtu: endpoint.mtu },
    { name: ifname, mac: endpoint.mac, mtu: endpoint.mtu, sandbox: netns },
  ];
  const own = interfaces.length - 1;
  const ips: ResultIp[] = [...(before?.ips ?? [])];
  const routes: ResultRoute[] = [...(before?.routes ?? [])];
  for (const [family, bits, all] of [
    ['ipv4', 32, '0.0.0.0/0'],
    ['ipv6', 128, '::/0'],
  ] as const) {
    const address = endpoint.addresses[family];
    const gateway = endpoint.gateways[family];
    if (address === undefined) continue;
    ips.push({
      address: `${address}/${bits}`,
      ...(gateway === undefined ? {} : { gateway }),
      interface: own,
    });
    if (gateway !== undefined) routes.push({ dst: all, gw: gateway });
  }
  const resolver = dns ?? before?.dns;
  return { ...before, cniVersion: '', interfaces, ips, routes, ...(resolver && { dns: resolver }) };
}

/** A result in the form of the caller's version. */
export function formatResult(result: CniResult, version: CniVersion): Record<string, unknown> {
  const rules = rulesOf(version);
  return {
    ...result,
    cniVersion: version,
    interfaces: result.interfaces.map(({ mtu, ...rest }) =>
      rules.interfaceMtu && mtu !== undefined ? { ...rest, mtu } : rest,
    ),
    ips: result.ips.map(({ version: _, ...rest }) =>
      rules.ipVersion ? { version: rest.address.includes(':') ? '6' : '4', ...rest } : rest,
    ),
  };
}

/** What a result says of the container's interface: its addresses and the host interfaces beside it. */
export function attachmentIn(
  result: CniResult,
  ifname: string,
): { readonly addresses: FamilyAddresses; readonly hostIfnames: readonly string[] } | undefined {
  const own = result.interfaces.findIndex((one) => one.name === ifname && Boolean(one.sandbox));
  if (own < 0) return undefined;
  const addresses: { ipv4?: string; ipv6?: string } = {};
  for (const ip of result.ips) {
    if (ip.interface !== undefined && ip.interface !== null && ip.interface !== own) continue;
    const family = ip.address.includes(':') ? 'ipv6' : 'ipv4';
    addresses[family] ??= ip.address.slice(0, ip.address.indexOf('/'));
  }
  const hostIfnames = result.interfaces.filter((one) => !one.sandbox).map((one) => one.name);
  return { addresses, hostIfnames };
}
