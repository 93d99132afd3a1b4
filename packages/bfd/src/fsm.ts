import type { Diagnostic, SessionState } from './values.ts';

/** What can happen to a session's state; the four of reception say what state the packet carried. */
export const fsmEvents = [
  'receive-admin-down',
  'receive-down',
  'receive-init',
  'receive-up',
  'detection-expired',
  'disable',
  'enable',
] as const;
export type FsmEvent = (typeof fsmEvents)[number];

export interface Transition {
  readonly to: SessionState;
  /** The new bfd.LocalDiag; undefined leaves it as it is. */
  readonly diagnostic: Diagnostic | undefined;
  /** Why nothing happens, where that needs saying. */
  readonly note?: string;
}

const go = (to: SessionState, diagnostic?: Diagnostic): Transition =>
  Object.freeze({ to, diagnostic });
const stay = (to: SessionState, note: string): Transition =>
  Object.freeze({ to, diagnostic: undefined, note });

const disabled = go('admin-down', 'administratively-down');
const expired = go('down', 'detection-time-expired');
const signaled = go('down', 'neighbor-signaled-down');

/** RFC 5880 sections 6.2, 6.8.4, 6.8.6 and 6.8.16: every state and every event. */
export const transitions: Readonly<Record<SessionState, Readonly<Record<FsmEvent, Transition>>>> = {
  'admin-down': {
    'receive-admin-down': stay('admin-down', 'packets are discarded while AdminDown'),
    'receive-down': stay('admin-down', 'packets are discarded while AdminDown'),
    'receive-init': stay('admin-down', 'packets are discarded while AdminDown'),
    'receive-up': stay('admin-down', 'packets are discarded while AdminDown'),
    'detection-expired': stay('admin-down', 'nothing is expected while AdminDown'),
    disable: stay('admin-down', 'disabled already'),
    enable: go('down', 'none'),
  },
  down: {
    'receive-admin-down': stay('down', 'the peer holds the session down'),
    'receive-down': go('init', 'none'),
    'receive-init': go('up', 'none'),
    'receive-up': stay('down', 'the peer has not noticed yet that we are down'),
    'detection-expired': stay('down', 'down already'),
    disable: disabled,
    enable: stay('down', 'enabled already'),
  },
  init: {
    'receive-admin-down': signaled,
    'receive-down': stay('init', 'the peer has not seen our Init yet'),
    'receive-init': go('up', 'none'),
    'receive-up': go('up', 'none'),
    'detection-expired': expired,
    disable: disabled,
    enable: stay('init', 'enabled already'),
  },
  up: {
    'receive-admin-down': signaled,
    'receive-down': signaled,
    'receive-init': stay('up', 'the peer has not seen that we are up yet'),
    'receive-up': stay('up', 'both are up'),
    'detection-expired': expired,
    disable: disabled,
    enable: stay('up', 'enabled already'),
  },
};

/** The event that a packet of this state is. */
export const eventOfState: Readonly<Record<SessionState, FsmEvent>> = {
  'admin-down': 'receive-admin-down',
  down: 'receive-down',
  init: 'receive-init',
  up: 'receive-up',
};
