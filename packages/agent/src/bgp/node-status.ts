import type { CiliumBGPNodeConfig, Condition } from '@causeway/resources';
import type { PlannedInstance } from './plan.ts';
import type { SpeakerSession } from './speaker-port.ts';

export type InstanceStatus = NonNullable<
  NonNullable<CiliumBGPNodeConfig['status']>['bgpInstances']
>[number];
type PeerStatus = NonNullable<InstanceStatus['peers']>[number];

/** By what the speaker calls its neighbours; undefined: the speaker does not answer. */
export type Sessions = ReadonlyMap<string, SpeakerSession> | undefined;

/** Cilium's `cilium.io/BGPReconcileError` takes this much. */
const MOST_TEXT = 32 * 1024;

/**
 * `status.bgpInstances` of a CiliumBGPNodeConfig. Times, timers and routes are told of sessions that are up alone;
 * of a speaker that does not answer, whose sessions may well be up, nothing is known.
 */
export function instanceStatuses(
  instances: readonly PlannedInstance[],
  sessions: Sessions,
): InstanceStatus[] {
  return instances.map(({ name, asn, peers }) => ({
    name,
    localASN: asn,
    peers: peers.map((peer): PeerStatus => {
      const session = sessions?.get(peer.neighbor);
      const peerASN = session?.asn ?? peer.asn;
      return {
        name: peer.name,
        // The field must be there; a router that is still looked for has none.
        peerAddress: peer.address ?? session?.address ?? '',
        ...(peerASN === undefined ? {} : { peerASN }),
        peeringState: session === undefined ? 'unknown' : session.state.replaceAll('-', '_'),
        ...(session?.state === 'established' ? established(session) : {}),
      };
    }),
  }));
}

function established({ since, timers, families }: SpeakerSession): Partial<PeerStatus> {
  return {
    // To the second, as Kubernetes has times.
    establishedTime: since.replace(/\.\d+Z$/, 'Z'),
    ...(timers === undefined
      ? {}
      : {
          timers: {
            appliedHoldTimeSeconds: timers.hold,
            appliedKeepaliveSeconds: timers.keepalive,
          },
        }),
    routeCount: families.map(({ family, received, advertised }) => ({
      afi: family === 'ipv4-unicast' ? 'ipv4' : 'ipv6',
      safi: 'unicast',
      received,
      advertised,
    })),
  };
}

/** The same without what counts: a routing table that moves all the time is told at leisure. */
export const withoutCounts = (instances: readonly InstanceStatus[]): InstanceStatus[] =>
  instances.map((instance) => ({
    ...instance,
    peers: (instance.peers ?? []).map(({ routeCount: _, ...peer }) => peer as PeerStatus),
  }));

/** Cilium's condition, with every problem in a line of its own. */
export function problemsCondition(problems: readonly string[]): Condition {
  return {
    type: 'cilium.io/BGPReconcileError',
    status: problems.length === 0 ? 'False' : 'True',
    reason: 'BGPReconcileError',
    message: problems.join('\n').slice(0, MOST_TEXT),
  };
}
