/** The steps that several states take alike. */
import type { PeerState } from './events.ts';
import type { FsmAction, FsmStep } from './fsm-events.ts';

export const step = (next: PeerState, ...actions: FsmAction[]): FsmStep => ({ next, actions });

export const stay = {
  idle: step('idle'),
  connect: step('connect'),
  active: step('active'),
  'open-sent': step('open-sent'),
  'open-confirm': step('open-confirm'),
  established: step('established'),
} as const;

// "stops the ConnectRetryTimer and sets it to zero, releases all BGP resources, drops the TCP connection" and then
// what becomes of the counter. Timers other than these two end with the connection.
export const fallQuietly = step('idle', 'stop-connect-retry', 'stop-delay-open', 'drop');
export const fallByHand = step(
  'idle',
  'stop-connect-retry',
  'stop-delay-open',
  'drop',
  'zero-retries',
);
export const fall = step(
  'idle',
  'stop-connect-retry',
  'stop-delay-open',
  'drop',
  'count-retry',
  'damp',
);
export const ceaseByHand = step('idle', 'notify', 'stop-connect-retry', 'drop', 'zero-retries');
export const notifyAndFall = step(
  'idle',
  'notify',
  'stop-connect-retry',
  'drop',
  'count-retry',
  'damp',
);
// Once per message: made once.
export const keepAlive = step('established', 'start-hold');
export const deliver = step('established', 'deliver', 'start-hold');
export const fsmError = step(
  'idle',
  'notify-fsm',
  'stop-connect-retry',
  'drop',
  'count-retry',
  'damp',
);
