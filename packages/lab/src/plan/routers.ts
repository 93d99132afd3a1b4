import { Address, type Family, Prefix } from '@causeway/ip';
import type { BgpRouting } from '../file/router-schema.ts';
import type { LabFile } from '../file/schema.ts';
import type { ListenPlan, RouterPlan, SessionPlan } from './types.ts';

const FAMILIES = ['ipv4', 'ipv6'] as const;
const DEFAULT = { ipv4: Prefix.parse('0.0.0.0/0'), ipv6: Prefix.parse('::/0') } as const;

/** A router's own end on a segment (a rack or `link N`). */
export interface RouterPort {
  readonly device: string;
  readonly addresses: readonly Address[];
}
/** By segment, then by router. */
export type RouterPorts = ReadonlyMap<string, ReadonlyMap<string, RouterPort>>;

/** What each router with a daemon has to be configured with. One session for each family, as is usual where both are in use. */
export function planRouters(file: LabFile, ports: RouterPorts): RouterPlan[] {
  const speaking = new Map(
    file.routers.flatMap(({ name, routing }) =>
      routing.type === 'static' ? [] : [[name, routing] as const],
    ),
  );
  return file.routers.flatMap((router) => {
    const { routing } = router;
    if (routing.type === 'static') return [];
    return [
      {
        name: router.name,
        daemon: routing.type,
        asn: routing.asn,
        routerId: routing.routerId ?? firstIPv4(router.name, ports),
        sessions: sessions(router.name, routing, speaking, ports),
        listens: listens(router.name, routing, file, ports),
        originate: routing.originate.flatMap((text) =>
          text === 'default' ? Object.values(DEFAULT) : [Prefix.parse(text)],
        ),
        rackDevices: router.racks.map((rack) => ports.get(rack)!.get(router.name)!.device),
        multipath: routing.multipath,
        bfd:
          routing.bfd.enabled && routing.type !== 'gobgp'
            ? { intervalMs: routing.bfd.intervalMs, multiplier: routing.bfd.multiplier }
            : undefined,
        holdSeconds: routing.holdSeconds,
      },
    ];
  });
}

/** A session stands when either side wants it, on every segment that both are on. */
function sessions(
  name: string,
  routing: BgpRouting,
  speaking: ReadonlyMap<string, BgpRouting>,
  ports: RouterPorts,
): SessionPlan[] {
  const wants = (from: BgpRouting, to: string, segment: string): boolean =>
    from.neighbors?.includes(to) ?? segment.startsWith('link ');
  const found: SessionPlan[] = [];
  for (const [segment, routers] of ports) {
    const own = routers.get(name);
    if (own === undefined) continue;
    for (const [neighbor, port] of routers) {
      const other = speaking.get(neighbor);
      if (neighbor === name || other === undefined) continue;
      if (!wants(routing, neighbor, segment) && !wants(other, name, segment)) continue;
      for (const family of FAMILIES) {
        const local = own.addresses.find(of(family));
        const remote = port.addresses.find(of(family));
        if (local === undefined || remote === undefined) continue;
        const { device } = own;
        const bfd = other.bfd.enabled && other.type !== 'gobgp';
        found.push({ neighbor, family, device, local, remote, asn: other.asn, bfd });
      }
    }
  }
  return found;
}

function listens(
  name: string,
  routing: BgpRouting,
  file: LabFile,
  ports: RouterPorts,
): ListenPlan[] {
  return routing.nodes.flatMap((nodes) => {
    const port = ports.get(nodes.rack)!.get(name)!;
    const rack = file.racks.find((candidate) => candidate.name === nodes.rack)!;
    return FAMILIES.flatMap((family): ListenPlan[] => {
      const local = port.addresses.find(of(family));
      if (local === undefined) return [];
      const accept = nodes.accept.flatMap((text) =>
        text === 'default' ? [DEFAULT[family]] : [Prefix.parse(text)],
      );
      return [
        {
          rack: nodes.rack,
          family,
          device: port.device,
          local,
          range: Prefix.parse(rack[family]!),
          asn: nodes.asn === routing.asn ? 'internal' : nodes.asn,
          advertise: nodes.advertise,
          accept:
            nodes.accept.length === 0
              ? undefined
              : accept.filter((prefix) => Prefix.family(prefix) === family),
          reflect: nodes.reflect,
          limit: nodes.limit,
        },
      ];
    });
  });
}

/** A router of IPv6 racks alone still has an identifier of 32 bits: one that says nothing. */
function firstIPv4(name: string, ports: RouterPorts): string {
  for (const routers of ports.values()) {
    const address = routers.get(name)?.addresses.find(of('ipv4'));
    if (address !== undefined) return address;
  }
  const index = [...new Set([...ports.values()].flatMap((routers) => [...routers.keys()]))];
  return `0.0.1.${(index.indexOf(name) % 254) + 1}`;
}

function of(family: Family): (address: Address) => boolean {
  return (address) => Address.family(address) === family;
}
