/** A router that is not ours, as the scenarios see it: the same few questions and commands for all of them. */
import type { Namespace } from '../namespaces.ts';
import type { DaemonProcess } from '../process.ts';
import type { Family, RouteText, SessionPlan } from './plan.ts';

export type Ability =
  | 'md5'
  | 'md5-ipv6'
  | 'ttl-security'
  | 'graceful-restart-helper'
  | 'graceful-restart-restarting'
  /** It puts routes into the kernel, so that packets can show what a restart does to them. */
  | 'kernel-routes'
  | 'add-path'
  | 'extended-next-hop'
  | 'extended-messages'
  | 'old-speaker'
  | 'dynamic-neighbors'
  | 'reflector'
  | 'route-refresh-ask'
  | 'route-refresh-answer'
  /** Connects within seconds after it has been sent a NOTIFICATION. */
  | 'connects-again-soon'
  /** Says why the neighbour ended the session. */
  | 'tells-our-text'
  | 'enhanced-refresh'
  | 'shutdown-text'
  | 'prints-long-lists'
  /** ORIGINATOR_ID and CLUSTER_LIST also on what a reflector tells those who are no clients. */
  | 'marks-for-non-clients'
  | 'originates-long-paths'
  /** Puts AS4_PATH in the place of AS_TRANS when it acts as an old speaker. */
  | 'merges-as4-path';

export interface Foreign extends AsyncDisposable {
  readonly name: string;
  /** Why it cannot, in words for the report. */
  readonly lacks: Readonly<Partial<Record<Ability, string>>>;
  readonly process: DaemonProcess;
  /** True while the session is established in its own eyes. */
  established(session: SessionPlan): Promise<boolean>;
  /** The routes of ours that it has by this session. */
  received(session: SessionPlan, family: Family): Promise<readonly RouteText[]>;
  /** Announces the moving routes, or takes them back. */
  announceMoving(): Promise<void>;
  withdrawMoving(): Promise<void>;
  /** Asks us to send everything again (RFC 2918). */
  refresh(session: SessionPlan): Promise<void>;
  /** Takes the session down for good with a text for the other side (RFC 9003), and up again. */
  shutDown(session: SessionPlan, text: string): Promise<void>;
  bringUp(session: SessionPlan): Promise<void>;
  /** Whatever it tells of why the session last fell. */
  lastFall(session: SessionPlan): Promise<string>;
  /** Ends as by a crash. What it had in the kernel stays, if the router means it to. */
  crash(): Promise<void>;
  /** Starts again on the same configuration, as after a crash. */
  startAgain(): Promise<void>;
}

export interface ForeignStart {
  readonly namespace: Namespace;
  readonly directory: string;
  readonly sessions: readonly SessionPlan[];
}

export interface ForeignKind {
  readonly name: string;
  readonly lacks: Foreign['lacks'];
  start(start: ForeignStart): Promise<Foreign>;
}

/** The sessions that the router can take part in at all. */
export function possible(
  sessions: readonly SessionPlan[],
  lacks: Foreign['lacks'],
): readonly SessionPlan[] {
  return sessions.filter(
    (session) =>
      !(session.password && lacks.md5) &&
      !(session.password && session.transport === 'ipv6' && lacks['md5-ipv6']) &&
      !(session.ttlSecurity && lacks['ttl-security']) &&
      !(session.gracefulRestart && lacks['graceful-restart-helper']) &&
      !(session.addPath && lacks['add-path']) &&
      !(session.extendedNextHop && lacks['extended-next-hop']) &&
      !(session.oldSpeaker && lacks['old-speaker']) &&
      !(session.dynamic === 'theirs' && lacks['dynamic-neighbors']) &&
      !(session.reflector === 'theirs' && lacks.reflector),
  );
}
