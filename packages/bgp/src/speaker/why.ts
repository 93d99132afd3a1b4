import { outcomeOf } from '../rib/export.ts';
import { PathFlag } from '../rib/path-table.ts';
import { PeerKind } from '../rib/peer-columns.ts';
import type { PrefixFields } from '../rib/prefix-table.ts';
import { refusedNames } from '../rib/refusals.ts';
import type { Rib } from '../rib/rib.ts';
import type { PeerFamily, SpeakerPeer } from './peer.ts';
import { pathRow, peerNameOf, setFields } from './rows.ts';
import type { ShowContext } from './show.ts';
import type { ExportOutcome, Why, WhyExport, WhyPath } from './types.ts';

/** Why a prefix's paths are what they are, and what every neighbour (or one) is told of it. */
export function explain(
  rib: Rib,
  prefix: number,
  context: ShowContext,
  only: SpeakerPeer | undefined,
): Why {
  const { paths } = rib;
  const fields: PrefixFields = { length: 0, w0: 0, w1: 0, w2: 0, w3: 0 };
  rib.prefixes.read(prefix, fields);
  const all: WhyPath[] = [];
  const best = rib.best[prefix]!;
  for (let path = rib.head[prefix]!; path !== 0; path = paths.next[path]!) {
    if ((paths.flags[path]! & PathFlag.gone) !== 0) continue;
    all.push(whyPath(rib, path, best, context, fields));
  }
  // The best first, as one reads it.
  all.sort((a, b) => Number(b.route.best ?? false) - Number(a.route.best ?? false));
  const exports: WhyExport[] = [];
  for (const peer of only === undefined ? context.peers.values() : [only]) {
    exports.push(whyExport(rib, prefix, peer, context, fields));
  }
  return { family: rib.family, prefix: rib.prefixes.text(prefix), paths: all, exports };
}

function whyPath(
  rib: Rib,
  path: number,
  best: number,
  context: ShowContext,
  fields: PrefixFields,
): WhyPath {
  const { paths, decision } = rib;
  const peer = context.byIndex[paths.peer[path]!];
  const importer = peer?.families.get(rib.family)?.importer;
  const refused = paths.accepted[path] === 0 ? refusedNames[paths.why[path]!] : undefined;
  const asked = importer?.policy !== undefined && (refused === undefined || refused === 'policy');
  const lost = best !== 0 && path !== best && paths.accepted[path] !== 0;
  const winner = lost ? winnerOver(rib, path, best) : best;
  return {
    route: pathRow(rib, path, 'loc', context),
    ...(lost
      ? {
          lostTo: {
            peer: peerNameOf(rib, winner, context),
            comparison: decision.explain(paths, winner, path),
          },
        }
      : {}),
    ...(asked
      ? {
          importPolicy: importer.policy!.explain(
            paths.received[path]!,
            fields,
            importer.context.kind,
            undefined,
          ),
        }
      : {}),
    ...(refused === undefined ? {} : { refused }),
  };
}

/** Who beat the path: the best one, unless MED let another of its neighbour AS do so before (RFC 4271 section 9.1.2.2 c). */
function winnerOver(rib: Rib, path: number, best: number): number {
  const { paths, decision } = rib;
  const isUsable = decision.isCandidate(paths, path);
  if (!isUsable || decision.compare(paths, best, path) < 0) return best;
  for (let other = rib.head[paths.prefix[path]!]!; other !== 0; other = paths.next[other]!) {
    if (other === path || !decision.isCandidate(paths, other)) continue;
    if (decision.compare(paths, other, path) < 0) return other;
  }
  return best;
}

function whyExport(
  rib: Rib,
  prefix: number,
  peer: SpeakerPeer,
  context: ShowContext,
  fields: PrefixFields,
): WhyExport {
  const answer = (outcome: ExportOutcome): WhyExport => ({ peer: peer.name, outcome });
  const family: PeerFamily | undefined = peer.families.get(rib.family);
  if (peer.negotiated === undefined) return answer('session-down');
  if (family?.group === undefined || family.member === undefined)
    return answer('family-not-negotiated');
  const { group, member } = family;
  const { paths } = rib;
  if (rib.held) return answer('deferred');
  const path = rib.isScoped(prefix) ? group.evaluation.bestVisible(prefix) : rib.best[prefix]!;
  if (path === 0) return answer(rib.best[prefix] === 0 ? 'not-best' : 'other-neighbors-only');
  if (paths.peer[path] === peer.index && !group.out.isAddPath) return answer('split-horizon');
  const barred = group.evaluation.exporter.barred(path);
  if (barred !== undefined) return answer(barred);
  const { policy } = group.evaluation.exporter;
  const kind = context.columns.kind[paths.peer[path]!] ?? PeerKind.local;
  const tag = context.locals.byId.get(paths.idOf(path))?.path.tag;
  const result = group.evaluation.exporter.run(path, paths.peer[path] === 0 ? tag : undefined);
  const outcome = outcomeOf(result);
  const reason =
    policy === undefined || outcome === 'no-policy'
      ? {}
      : { policy: policy.explain(paths.accepted[path]!, fields, kind, tag) };
  if (result <= 0) return { ...answer(outcome), ...reason };
  const item = group.out.isAddPath ? group.out.find(prefix, path) : prefix;
  const isTold = item !== 0 && group.out.set[item] === result && group.hasBeenTold(member, item);
  return { ...answer(isTold ? 'sent' : 'pending'), ...reason, sent: setFields(rib, result) };
}
