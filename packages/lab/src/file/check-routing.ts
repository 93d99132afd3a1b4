import { Prefix } from '@causeway/ip';
import type { Say } from './check.ts';
import type { BgpRouting } from './router-schema.ts';
import type { LabFile } from './schema.ts';
import { segmentOf } from './segments.ts';

/** What routers with a daemon must agree on with the rest of the file, and racks with their uplinks. */
export function checkRouting(file: LabFile, say: Say): void {
  for (const [i, rack] of file.racks.entries()) {
    if (rack.uplink === undefined) continue;
    const path = `racks[${i}]`;
    if (segmentOf(file.racks, rack.name) === undefined)
      say(
        `${path}.uplink`,
        rack.uplink,
        `must lead to a rack and in no circle; allowed: ${names(file.racks.filter((other) => other !== rack))}`,
      );
    for (const family of ['ipv4', 'ipv6'] as const)
      if (rack[family] !== undefined)
        say(
          `${path}.${family}`,
          rack[family],
          `cannot stand beside uplink: the prefixes of ${rack.uplink} are in force here`,
        );
  }
  for (const [i, router] of file.routers.entries()) {
    const path = `routers[${i}]`;
    for (const [j, name] of router.racks.entries()) {
      const rack = file.racks.find((candidate) => candidate.name === name);
      if (rack?.uplink !== undefined)
        say(`${path}.racks[${j}]`, name, `has an uplink; routers stand on ${rack.uplink}`);
    }
    if (router.routing.type !== 'static')
      checkBgp(`${path}.routing`, router, router.routing, file, say);
  }
}

function checkBgp(
  path: string,
  router: LabFile['routers'][number],
  routing: BgpRouting,
  file: LabFile,
  say: Say,
): void {
  const speaking = file.routers.filter(
    (other) => other !== router && other.routing.type !== 'static',
  );
  for (const [j, name] of (routing.neighbors ?? []).entries())
    if (!speaking.some((other) => other.name === name))
      say(
        `${path}.neighbors[${j}]`,
        name,
        `is not another router that runs a daemon; allowed: ${names(speaking)}`,
      );
  for (const [j, text] of routing.originate.entries())
    checkPrefix(`${path}.originate[${j}]`, text, say);
  if (routing.type === 'gobgp' && routing.originate.length > 0)
    say(
      `${path}.originate`,
      routing.originate,
      'cannot stand with gobgp, which announces only what it learned here; allowed with bird and frr',
    );
  const seen = new Set<string>();
  for (const [j, nodes] of routing.nodes.entries()) {
    const at = `${path}.nodes[${j}]`;
    if (!router.racks.includes(nodes.rack))
      say(
        `${at}.rack`,
        nodes.rack,
        `is not a rack of this router; allowed: ${router.racks.join(', ') || '(none)'}`,
      );
    if (seen.has(nodes.rack)) say(`${at}.rack`, nodes.rack, 'stands in an entry before this one');
    seen.add(nodes.rack);
    const internal = nodes.asn === 'internal' || nodes.asn === routing.asn;
    if (routing.type === 'gobgp' && nodes.asn === 'external')
      say(`${at}.asn`, nodes.asn, 'gobgp must be told the AS: a number or internal');
    if (nodes.reflect && !internal)
      say(
        `${at}.reflect`,
        nodes.reflect,
        'takes asn: internal; routes are reflected inside one AS only',
      );
    for (const [k, text] of nodes.accept.entries()) checkPrefix(`${at}.accept[${k}]`, text, say);
  }
}

function checkPrefix(path: string, text: string, say: Say): void {
  if (text === 'default') return;
  try {
    Prefix.parse(text);
  } catch (error) {
    say(path, text, (error as Error).message);
  }
}

function names(entries: readonly { readonly name: string }[]): string {
  return entries.map(({ name }) => name).join(', ') || '(none)';
}
