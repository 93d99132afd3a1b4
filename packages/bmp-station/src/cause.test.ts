import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerDownReason } from '@causeway/bmp';
import { sampleNotification } from '@causeway/bmp/testing';
import { type CauseWhy, causeOf } from './cause.ts';

const sent = (code: number, subcode: number, text?: string): PeerDownReason => ({
  type: 'local-notification',
  notification: sampleNotification(code, subcode, text),
});
const hard = sampleNotification(6, 9);
const hardReset = (code: number, subcode: number): PeerDownReason => {
  const notification = new Uint8Array([...hard, code, subcode]);
  notification[17] = notification.length;
  return { type: 'remote-notification', notification };
};

const rows: readonly (readonly [PeerDownReason, CauseWhy, 'router' | 'peer' | 'unknown'])[] = [
  [sent(1, 2), 'header-error', 'router'],
  [sent(2, 2), 'open-error', 'router'],
  [sent(3, 1), 'update-error', 'router'],
  [sent(4, 0), 'hold-timer', 'router'],
  [sent(5, 1), 'fsm-error', 'router'],
  [sent(6, 0), 'cease', 'router'],
  [sent(6, 1), 'max-prefix', 'router'],
  [sent(6, 2, 'bye'), 'admin-shutdown', 'router'],
  [sent(6, 3), 'peer-deconfigured', 'router'],
  [sent(6, 4), 'admin-reset', 'router'],
  [sent(6, 5), 'connection-rejected', 'router'],
  [sent(6, 6), 'config-change', 'router'],
  [sent(6, 7), 'collision', 'router'],
  [sent(6, 8), 'out-of-resources', 'router'],
  [sent(6, 10), 'bfd-down', 'router'],
  [sent(6, 99), 'cease', 'router'],
  [sent(7, 1), 'route-refresh-error', 'router'],
  [sent(8, 0), 'send-hold-timer', 'router'],
  [sent(99, 0), 'unknown', 'router'],
  [hardReset(4, 0), 'hold-timer', 'peer'],
  [hardReset(6, 2), 'admin-shutdown', 'peer'],
  [{ type: 'remote-notification', notification: hard }, 'hard-reset', 'peer'],
  [{ type: 'remote-notification', notification: new Uint8Array(19) }, 'unknown', 'peer'],
  [{ type: 'local-event', event: 10 }, 'hold-timer', 'router'],
  [{ type: 'local-event', event: 2 }, 'admin-shutdown', 'router'],
  [{ type: 'local-event', event: 18 }, 'tcp-closed', 'router'],
  [{ type: 'local-event', event: 0 }, 'local-event', 'router'],
  [{ type: 'remote-closed' }, 'tcp-closed', 'peer'],
  [{ type: 'deconfigured' }, 'monitoring-ended', 'unknown'],
  [{ type: 'local-tlvs', information: [] }, 'local-event', 'router'],
  [{ type: 'unknown', code: 77, data: new Uint8Array(0) }, 'unknown', 'unknown'],
];

for (const [reason, why, closedBy] of rows) {
  const bytes = 'notification' in reason ? [...reason.notification.slice(19)].join('.') : '';
  test(`${reason.type} ${'event' in reason ? reason.event : bytes} is ${why}, closed by ${closedBy}`, () => {
    const cause = causeOf(reason);
    assert.deepEqual([cause.why, cause.closedBy], [why, closedBy]);
  });
}

test('the text of a shutdown communication is kept', () => {
  const cause = causeOf(sent(6, 2, 'maintenance until noon'));
  assert.equal(cause.text, 'maintenance until noon');
  assert.deepEqual([cause.code, cause.subcode], [6, 2]);
});
