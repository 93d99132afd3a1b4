import assert from 'node:assert/strict';
import { test } from 'node:test';
import { oneTimeCode, seal } from '@causeway/pki';
import { MeshError } from '../errors.ts';
import { type JoinRecord, recoveryOf } from './records.ts';
import { checkToken, type JoinToken, openToken, sealToken } from './token.ts';

const token: JoinToken = {
  type: 'invite',
  id: '0b7c1f0e-6a1d-4a53-9a0b-3a1f0c2d4e5f',
  for: 'west',
  issuedAt: '2026-01-01T00:00:00.000Z',
  expiresAt: '2026-01-01T01:00:00.000Z',
  from: {
    name: 'east',
    id: 1,
    maxConnectedClusters: 255,
    version: '0.1.0',
    tunnelPorts: [8472],
    routingModes: ['native'],
    mtus: [1500],
    ranges: [],
  },
  offer: { endpoints: ['https://192.0.2.1:2379'], ca: 'ca', certificate: 'crt', key: 'key' },
  secret: 'A'.repeat(43),
  join: [],
};

const code = oneTimeCode();
const refused = (message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof MeshError && error.code === 'bad-token', String(error));
  assert.match(error.message, message);
  return true;
};

test('a token opens with its code, however it was typed and broken into lines', () => {
  const text = sealToken(token, code);
  assert.match(text, /^causeway1\.[-_A-Za-z0-9]+$/);
  assert.deepEqual(openToken(text, code), token);
  const typed = code.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o').replaceAll('1', 'l');
  assert.deepEqual(openToken(text.replaceAll(/.{60}/g, '$&\n'), typed), token);
  assert.deepEqual(
    openToken(sealToken(token, 'a passphrase of ours'), 'a passphrase of ours'),
    token,
  );
});

test('what was changed, cut, mixed up or is of another time is refused by what is wrong', () => {
  const text = sealToken(token, code);
  const changed = (at: number) =>
    `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`;
  for (const at of [12, 40, text.length - 4])
    assert.throws(() => openToken(changed(at), code), refused(/cannot be opened/));
  assert.throws(() => openToken(text.slice(0, -8), code), refused(/cannot be opened/));
  assert.throws(() => openToken(text.slice(0, 20), code), refused(/cut short/));
  assert.throws(() => openToken(text, oneTimeCode()), refused(/code is not the right one/));
  assert.throws(() => openToken('rubbish', code), refused(/not a token/));
  assert.throws(
    () => openToken(text.replace('causeway1', 'causeway2'), code),
    refused(/causeway2/),
  );
  assert.throws(
    () => openToken(`causeway1.${'A'.repeat(2_000_000)}`, code),
    refused(/not a token/),
  );
  const odd = `causeway1.${seal('{"type":"invite"}', code, 'causeway1')}`;
  assert.throws(() => openToken(odd, code), refused(/version unknown here: id/));
});

test('a token is for one cluster and one hour', () => {
  const at = (text: string) => new Date(text);
  checkToken(token, 'west', at('2026-01-01T00:30:00Z'));
  checkToken(token, 'west', at('2025-12-31T23:59:00Z'));
  const during = at('2026-01-01T00:30:00Z');
  assert.throws(
    () => checkToken(token, 'north', during),
    refused(/for cluster west, and this is north/),
  );
  assert.throws(
    () => checkToken({ ...token, for: 'east' }, 'east', during),
    refused(/by east itself/),
  );
  assert.throws(() => checkToken(token, 'west', at('2026-01-01T01:00:01Z')), refused(/time ended/));
  assert.throws(() => checkToken(token, 'west', at('2025-12-31T23:00:00Z')), refused(/clocks/));
});

test('what becomes of an interrupted join follows from its record', () => {
  const now = new Date('2026-01-01T00:30:00Z');
  const join: JoinRecord = {
    version: 1,
    role: 'joining',
    state: 'preparing',
    tokenId: token.id,
    startedAt: token.issuedAt,
    expiresAt: token.expiresAt,
    facts: token.from,
    offer: token.offer,
  };
  const later = new Date('2026-01-01T02:00:00Z');
  const inviting: JoinRecord = { ...join, role: 'inviting', state: 'prepared' };
  assert.equal(recoveryOf(join, now).type, 'undo');
  assert.equal(recoveryOf({ ...join, state: 'prepared' }, now).type, 'undo');
  assert.equal(recoveryOf({ ...join, state: 'committing' }, later).type, 'finish');
  assert.equal(recoveryOf(inviting, now).type, 'wait');
  assert.equal(recoveryOf(inviting, later).type, 'undo');
});
