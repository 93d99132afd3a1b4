import type { Policy } from '@causeway/bgp';
import { Prefix } from '@causeway/ip';
import { type Candidate, candidatesOf } from './candidates.ts';
import { given } from './given.ts';
import type { BgpInputs } from './inputs.ts';
import { type NodeInstance, routerIdOf, selectInstances } from './instance.ts';
import { PlanMemo } from './memo.ts';
import { type Neighbors, neighborsOf } from './neighbors.ts';
import {
  attributesFor,
  chosenRules,
  exportPolicy,
  importPolicy,
  NOTHING,
  nothing,
  type Tags,
  tagOf,
} from './policies.ts';
import type { Profile } from './profile.ts';
import type { Attributes, Rule } from './rules.ts';
import {
  type BmpStation,
  type OriginatedPath,
  type SpeakerConfig,
  speakerName,
} from './speaker-port.ts';

/** One thing that could be announced: where it goes and why, or why not. */
export interface Announcement {
  readonly prefix: Prefix;
  readonly source: string;
  /** CiliumBGPAdvertisements that want it. */
  readonly advertisements: readonly string[];
  /** It is originated; what each session then sends, the speaker tells. */
  readonly announced: boolean;
  /** Neighbours whose export policy lets it through, and with what. */
  readonly to: readonly ({ readonly neighbor: string } & Attributes)[];
  /** Why it is announced, or what keeps it. */
  readonly reason: string;
}

/** What the speaker shall do, and how that came about. */
export interface BgpPlan {
  readonly clusterConfig: string | undefined;
  /** Undefined: this node does not speak BGP. */
  readonly wanted:
    | { readonly config: SpeakerConfig; readonly paths: readonly OriginatedPath[] }
    | undefined;
  readonly announcements: readonly Announcement[];
  /** What this node's CiliumBGPNodeConfig tells of: the instances with the sessions that they name. */
  readonly instances: readonly PlannedInstance[];
  readonly problems: readonly string[];
}

export interface PlannedInstance {
  readonly name: string;
  readonly asn: number;
  readonly peers: readonly {
    readonly name: string;
    /** What the speaker calls it. */
    readonly neighbor: string;
    /** Undefined: it is found out, or taken as it comes. */
    readonly address: string | undefined;
    readonly asn: number | undefined;
  }[];
}

/** Pure: what is planned depends on the inputs and on nothing else; `memo` only saves work. */
export function planBgp(inputs: BgpInputs, memo: PlanMemo = new PlanMemo()): BgpPlan {
  const selection = selectInstances(inputs);
  const [first] = selection.instances;
  const rules = memo.rules(inputs.advertisements);
  const candidates = candidatesOf(inputs, rules, memo);
  if (first === undefined) {
    const why =
      selection.config === undefined
        ? 'no CiliumBGPClusterConfig selects this node'
        : `CiliumBGPClusterConfig ${selection.config} has no instance that can be run`;
    return {
      clusterConfig: selection.config,
      wanted: undefined,
      announcements: candidates.map((each) => announcement(each, rules, [], each.obstacle ?? why)),
      instances: [],
      problems: selection.problems,
    };
  }
  const problems = [...selection.problems];
  const groups = selection.instances.map((at) => neighborsOf(at, first, inputs));
  for (const group of groups) problems.push(...group.problems);
  const all = withoutTwins(groups, problems);
  const profiles = new Map<string, Profile>();
  for (const { profile } of [...all, ...groups.flatMap(({ dynamic }) => dynamic)])
    profiles.set(profile.name, profile);

  const tags = tagsOf(candidates);
  const chosen = new Map<string, Set<string>>();
  for (const profile of profiles.values())
    for (const each of profile.families) chosen.set(each.export, chosenRules(each.family, rules));

  const receivers = [
    ...all.map(({ neighbor, profile }) => ({ name: neighbor.name, profile })),
    ...groups.flatMap(({ dynamic }) =>
      dynamic.map(({ group, profile }) => ({ name: `${group.name}:*`, profile })),
    ),
  ];
  // Thousands of addresses have the same few rules: what these mean is worked out once.
  const destinations = new Map<string, Pick<Announcement, 'to' | 'reason'> & { text: string }>();
  const announcements = candidates.map((candidate) => {
    const { obstacle } = candidate;
    if (obstacle !== undefined)
      return memo.row(candidate, '', () => announcement(candidate, rules, [], obstacle));
    const { ids, tag } = tags.get(candidate.prefix)!;
    const key = Prefix.family(candidate.prefix) === 'ipv4' ? 'ipv4-unicast' : 'ipv6-unicast';
    const known = `${key} ${tag} ${candidate.rules.join('+')}`;
    let where = destinations.get(known);
    if (where === undefined) {
      const to = receivers.flatMap(({ name, profile }) => {
        const family = profile.families.find((each) => each.key === key);
        if (family === undefined) return [];
        const attributes = attributesFor(ids, chosen.get(family.export)!, rules);
        return attributes === undefined ? [] : [{ neighbor: name, ...attributes }];
      });
      const who = namesOf(candidate.rules, rules).join(', ');
      const reason =
        to.length === 0
          ? `no peer's CiliumBGPPeerConfig chooses ${who} for ${key}`
          : `${who} selects it`;
      where = { to, reason, text: JSON.stringify([to, reason]) };
      destinations.set(known, where);
    }
    const { to, reason, text } = where;
    return memo.row(candidate, text, () => announcement(candidate, rules, to, reason));
  });

  const everyTag: Tags = new Map(Array.from(tags.values(), ({ tag, ids }) => [tag, ids]));
  const policies: [string, Policy][] = [[NOTHING, nothing]];
  for (const profile of profiles.values()) {
    for (const family of profile.families) {
      const transit = family.options.transit ?? profile.options.routeReflectorClient ?? false;
      const mine = chosen.get(family.export)!;
      policies.push([family.export, exportPolicy(family.key, everyTag, mine, rules, transit)]);
      if (family.import === NOTHING) continue;
      policies.push([family.import, importPolicy(family.options.import ?? [])]);
    }
  }
  const config = speakerConfig(selection.instances, first, inputs, all, groups, policies);
  // What no peer chooses is not originated: it would be a route of the speaker that leads nowhere.
  const sent = new Set(announcements.filter(({ announced }) => announced).map((row) => row.prefix));
  const paths = memo.paths(
    Array.from(tags, ([prefix, { tag }]): OriginatedPath => ({ prefix, tag }))
      .filter(({ prefix }) => sent.has(prefix as Prefix))
      .sort((a, b) => (a.prefix < b.prefix ? -1 : 1)),
  );
  return {
    clusterConfig: selection.config,
    wanted: { config, paths },
    announcements,
    instances: selection.instances.map((at) => plannedInstance(at, all)),
    problems: [...new Set(problems)],
  };
}

function plannedInstance(
  { instance, asn }: NodeInstance,
  all: Neighbors['neighbors'],
): PlannedInstance {
  const peers = all.flatMap(({ neighbor, peer }) => {
    if (peer?.instance !== instance.name) return [];
    return {
      name: peer.name,
      neighbor: neighbor.name,
      address: 'address' in neighbor.peer ? neighbor.peer.address : undefined,
      asn: typeof neighbor.asn === 'number' ? neighbor.asn : undefined,
    };
  });
  return { name: instance.name, asn, peers };
}

/** One path a prefix, tagged with every rule of everything that stands behind it. */
function tagsOf(candidates: readonly Candidate[]) {
  const usable = candidates.filter(({ obstacle }) => obstacle === undefined);
  const tags = new Map<Prefix, { readonly tag: string; readonly ids: readonly string[] }>();
  for (const [prefix, group] of Map.groupBy(usable, (each) => each.prefix)) {
    const ids =
      group.length === 1 ? group[0]!.rules : [...new Set(group.flatMap(({ rules }) => rules))];
    tags.set(prefix, { tag: tagOf(ids), ids });
  }
  return tags;
}

/** Names are how sessions are known: of two the first counts. So it is with addresses. */
function withoutTwins(groups: readonly Neighbors[], problems: string[]): Neighbors['neighbors'] {
  const seen = new Map<string, string>();
  return groups
    .flatMap(({ neighbors }) => neighbors)
    .filter(({ neighbor }) => {
      const target = JSON.stringify([neighbor.peer, neighbor.port ?? 179]);
      for (const key of [neighbor.name, target]) {
        const other = seen.get(key);
        if (other === undefined) continue;
        problems.push(
          key === target
            ? `${neighbor.name} is the same router as ${other}: one session counts, ${other}`
            : `two peers are called ${key}: the first counts`,
        );
        return false;
      }
      seen.set(neighbor.name, neighbor.name);
      seen.set(target, neighbor.name);
      return true;
    });
}

function speakerConfig(
  instances: readonly NodeInstance[],
  first: NodeInstance,
  inputs: BgpInputs,
  all: Neighbors['neighbors'],
  groups: readonly Neighbors[],
  policies: readonly (readonly [string, Policy])[],
): SpeakerConfig {
  const { options } = first;
  const { kernelRoutes, gracefulRestart, multipath } = options;
  const listen = instances.flatMap(({ instance, override, options: own }) => {
    const port = override.localPort ?? instance.localPort;
    if (port === undefined) return [];
    return (own.listenAddresses ?? ['0.0.0.0', '::']).map((address) => ({ address, port }));
  });
  return {
    asn: first.asn,
    routerId: routerIdOf(first, inputs.node),
    listen: [...new Map(listen.map((each) => [JSON.stringify(each), each])).values()],
    neighbors: all.map(({ neighbor }) => neighbor),
    dynamicNeighbors: groups.flatMap(({ dynamic }) => dynamic.map(({ group }) => group)),
    policies: Object.fromEntries(policies),
    kernel: {
      mode: KERNEL[kernelRoutes?.mode ?? 'None'],
      ...given({
        prefixes: kernelRoutes?.prefixes,
        table: kernelRoutes?.table,
        metric: kernelRoutes?.metric,
      }),
    },
    bmp: (options.bmpStations ?? []).map(
      ({ name, address, port, monitor, statisticsSeconds }): BmpStation => ({
        name: speakerName(name),
        address,
        port,
        ...given({
          views: monitor?.map((each) => VIEWS[each]),
          statisticsInterval: statisticsSeconds,
        }),
      }),
    ),
    ...given({
      clusterId: options.clusterID,
      multipath,
      gracefulRestart:
        gracefulRestart &&
        given({
          restartTime: gracefulRestart.restartTimeSeconds,
          deferral: gracefulRestart.deferralSeconds,
        }),
    }),
  };
}

const KERNEL = { None: 'none', All: 'all', Prefixes: 'prefixes', SameRack: 'same-rack' } as const;
const VIEWS = {
  PrePolicy: 'in-pre',
  PostPolicy: 'in-post',
  AdjRIBOutPrePolicy: 'out-pre',
  AdjRIBOutPostPolicy: 'out-post',
  LocRIB: 'loc',
} as const;

function announcement(
  { prefix, source, rules: ids, obstacle }: Candidate,
  rules: ReadonlyMap<string, Rule>,
  to: Announcement['to'],
  reason: string,
): Announcement {
  return {
    prefix,
    source,
    advertisements: namesOf(ids, rules),
    announced: obstacle === undefined && to.length > 0,
    to,
    reason,
  };
}

function namesOf(ids: readonly string[], rules: ReadonlyMap<string, Rule>): readonly string[] {
  return [...new Set(ids.map((id) => rules.get(id)!.advertisement))];
}
