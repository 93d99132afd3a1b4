import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerState } from './events.ts';
import { transition } from './fsm.ts';
import { type FsmContext, fsmEvents, fsmStates } from './fsm-events.ts';

const plain: FsmContext = { delayOpen: false, delayOpenRunning: false, passive: false };
const letters: Readonly<Record<string, PeerState>> = {
  i: 'idle',
  c: 'connect',
  a: 'active',
  s: 'open-sent',
  f: 'open-confirm',
  e: 'established',
};

/** RFC 4271 section 8.2.2: where each event leads from idle, connect, active, open-sent, open-confirm, established. */
const nextStates = `
  ManualStart                                                          c c a s f e
  ManualStop                                                           i i i i i i
  AutomaticStart                                                       c c a s f e
  ManualStart_with_PassiveTcpEstablishment                             a c a s f e
  AutomaticStart_with_PassiveTcpEstablishment                          a c a s f e
  AutomaticStart_with_DampPeerOscillations                             c c a s f e
  AutomaticStart_with_DampPeerOscillations_and_PassiveTcpEstablishment a c a s f e
  AutomaticStop                                                        i i i i i i
  ConnectRetryTimer_Expires                                            i c c i i i
  HoldTimer_Expires                                                    i i i i i i
  KeepaliveTimer_Expires                                               i i i i f e
  DelayOpenTimer_Expires                                               i s s i i i
  IdleHoldTimer_Expires                                                i i i i i i
  TcpConnection_Valid                                                  i c a s f e
  Tcp_CR_Invalid                                                       i c a s f e
  Tcp_CR_Acked                                                         i s s s f e
  TcpConnectionConfirmed                                               i s s s f e
  TcpConnectionFails                                                   i i i a i i
  BGPOpen                                                              i i i f i i
  BGPOpen with DelayOpenTimer running                                  i f f i i i
  BGPHeaderErr                                                         i i i i i i
  BGPOpenMsgErr                                                        i i i i i i
  OpenCollisionDump                                                    i i i i i i
  NotifMsgVerErr                                                       i i i i i i
  NotifMsg                                                             i i i i i i
  KeepAliveMsg                                                         i i i i e e
  UpdateMsg                                                            i i i i i e
  UpdateMsgErr                                                         i i i i i i`;

test('the next state of every event in every state', () => {
  const rows = nextStates.trim().split('\n');
  assert.equal(rows.length, 28);
  for (const [index, row] of rows.entries()) {
    const event = fsmEvents[index];
    assert.ok(event !== undefined && row.trim().startsWith(`${event} `), row);
    const wanted = row.trim().slice(event.length).trim().split(/\s+/);
    for (const [i, state] of fsmStates.entries()) {
      const { next } = transition(state, event, plain);
      assert.equal(next, letters[wanted[i] as string], `${event} in ${state}`);
    }
  }
});

test('what holds in every step, with any optional attribute', () => {
  for (const delayOpen of [false, true]) {
    for (const delayOpenRunning of [false, true]) {
      for (const passive of [false, true]) {
        for (const state of fsmStates) {
          for (const event of fsmEvents) {
            const { next, actions } = transition(state, event, {
              delayOpen,
              delayOpenRunning,
              passive,
            });
            const what = `${event} in ${state}: ${actions.join(' ')}`;
            const talking = ['open-sent', 'open-confirm', 'established'].includes(state);
            // Falling means dropping; a NOTIFICATION goes before the drop, and only to who has heard our OPEN.
            if (next === 'idle' && state !== 'idle') assert.ok(actions.includes('drop'), what);
            const notify = actions.findIndex((one) => one.startsWith('notify'));
            if (notify >= 0) assert.ok(talking && notify < actions.indexOf('drop'), what);
            if (actions.includes('establish')) assert.equal(next, 'established', what);
            if (actions.includes('connect')) assert.equal(next, 'connect', what);
            // RFC 4271 section 6.4: a NOTIFICATION is not answered with one.
            if (event.startsWith('Notif')) assert.equal(notify, -1, what);
            if (passive && event === 'ConnectRetryTimer_Expires') {
              assert.ok(!actions.includes('connect'), what);
            }
            assert.equal(new Set(actions).size, actions.length, what);
          }
        }
      }
    }
  }
});

test('DelayOpen: OPEN waits for its timer, or goes when the neighbour’s comes first', () => {
  const waiting: FsmContext = { ...plain, delayOpen: true };
  const running: FsmContext = { ...waiting, delayOpenRunning: true };
  for (const state of ['connect', 'active'] as const) {
    const up = transition(state, 'Tcp_CR_Acked', waiting);
    assert.deepEqual(up, { next: state, actions: ['stop-connect-retry', 'start-delay-open'] });
    assert.ok(transition(state, 'DelayOpenTimer_Expires', running).actions.includes('send-open'));
    const first = transition(state, 'BGPOpen with DelayOpenTimer running', running);
    assert.equal(first.next, 'open-confirm');
    assert.ok(first.actions.indexOf('send-open') < first.actions.indexOf('send-keepalive'));
  }
  assert.equal(transition('connect', 'TcpConnectionFails', running).next, 'active');
});
