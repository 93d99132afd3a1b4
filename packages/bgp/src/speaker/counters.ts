import type { Parts } from './parts.ts';
import type { SpeakerCounters } from './types.ts';

export function countersOf(parts: Parts): SpeakerCounters {
  const { ribs: byFamily, roster, sets, groups, deferral } = parts;
  let established = 0;
  for (const peer of roster.all) if (peer.negotiated !== undefined) established++;
  const ribs = Object.values(byFamily);
  return {
    peers: roster.byName.size,
    established,
    prefixes: {
      'ipv4-unicast': byFamily['ipv4-unicast'].reachablePrefixes,
      'ipv6-unicast': byFamily['ipv6-unicast'].reachablePrefixes,
    },
    paths: {
      'ipv4-unicast': byFamily['ipv4-unicast'].paths.size,
      'ipv6-unicast': byFamily['ipv6-unicast'].paths.size,
    },
    attributeSets: sets.size,
    attributeBytes: sets.bytes.length,
    updateGroups: groups.size,
    tableBytes: ribs.reduce((sum, rib) => sum + rib.bytes, 0) + sets.tableBytes + groups.bytes,
    deferring: deferral.isOn,
  };
}
