import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import fc from 'fast-check';
import { IpamError } from '../errors.ts';
import { dutyOf } from './duty.ts';
import { ClaimExpiry } from './expiry.ts';
import { parseClaim } from './record.ts';
import {
  announceClaim,
  type ClaimWish,
  expireClaim,
  releaseClaim,
  reserveClaim,
  standbyClaim,
  switchClaim,
  takeClaim,
  unreserveClaim,
  withdrawnClaim,
} from './steps.ts';
import type { Claim, ClaimOwner, ClaimStep } from './types.ts';

const owner = (ordinal: number): ClaimOwner => ({
  type: 'workload',
  namespace: 'shop',
  kind: 'StatefulSet',
  name: 'db',
  ordinal,
});
const wish: ClaimWish = {
  address: Address.parse('10.0.1.5'),
  owner: owner(0),
  partner: Address.parse('fd00:1::5'),
  home: 'n1',
  ttlSeconds: 60,
  reservation: null,
};
const on = (node: string, holder = `pod-on-${node}`) => ({ node, holder });
const written = (step: ClaimStep): Claim => {
  assert.equal(step.type, 'write', JSON.stringify(step));
  return (step as { claim: Claim }).claim;
};
const refused = (step: ClaimStep, code: string): string => {
  assert.ok(step.type === 'refused' && step.code === code, JSON.stringify(step));
  return step.message;
};
const home = (): Claim =>
  written(announceClaim(written(takeClaim(undefined, wish, on('n1'))), 'n1', 1));

test('a pod that moves takes its address along, and some node answers for it at every step', () => {
  let claim = home();
  assert.deepEqual(dutyOf(claim, 'n1', true), {
    address: '10.0.1.5',
    keep: true,
    endpoint: 'active',
    holder: 'pod-on-n1',
    announce: false,
    publish: true,
    forwardTo: undefined,
  });
  claim = written(takeClaim(claim, wish, on('n2')));
  assert.equal(dutyOf(claim, 'n1', true).forwardTo, 'n2');
  assert.equal(dutyOf(claim, 'n1', true).endpoint, 'none');
  assert.equal(dutyOf(claim, 'n2', false).announce, true);
  claim = written(announceClaim(claim, 'n2', 2));
  // From n2 to n3: n2 keeps its route until n3 is announced.
  claim = written(takeClaim(claim, wish, on('n3')));
  assert.equal(dutyOf(claim, 'n2', false).announce, true);
  assert.equal(dutyOf(claim, 'n2', false).forwardTo, 'n3');
  refused(withdrawnClaim(claim, 'n2'), 'claim-moved');
  refused(announceClaim(claim, 'n2', 2), 'claim-moved');
  claim = written(announceClaim(claim, 'n3', 3));
  assert.equal(dutyOf(claim, 'n2', false).announce, false);
  assert.equal(dutyOf(claim, 'n2', false).forwardTo, 'n3');
  claim = written(withdrawnClaim(claim, 'n2'));
  assert.equal(dutyOf(claim, 'n2', false).forwardTo, undefined);
  // What comes late from the nodes before changes nothing.
  assert.equal(releaseClaim(claim, on('n2'), 5).type, 'same');
  assert.equal(takeClaim(claim, wish, on('n3')).type, 'same');
  // And home again, where the CIDR's route is enough.
  claim = written(takeClaim(claim, wish, on('n1')));
  assert.equal(dutyOf(claim, 'n1', true).announce, false);
  assert.equal(claim.from, 'n3');
});

test('an address that is kept for one is refused to another, who is told for whom and where', () => {
  const message = refused(takeClaim(home(), { ...wish, owner: owner(1) }, on('n2')), 'claim-held');
  assert.equal(message, '10.0.1.5 is kept for StatefulSet shop/db, pod 0 on n1');
});

test('a hand-over: the second endpoint is silent, one write switches, another switches back', () => {
  let claim = written(standbyClaim(home(), owner(0), on('n2')));
  assert.equal(dutyOf(claim, 'n2', false).endpoint, 'standby');
  assert.equal(dutyOf(claim, 'n2', false).announce, false);
  refused(switchClaim(claim, 'n3'), 'no-standby');
  refused(standbyClaim(claim, owner(0), on('n3')), 'claim-in-use');
  refused(standbyClaim(undefined, owner(0), on('n3')), 'claim-unknown');
  claim = written(switchClaim(claim, 'n2'));
  assert.equal(dutyOf(claim, 'n2', false).endpoint, 'active');
  assert.equal(dutyOf(claim, 'n1', true).endpoint, 'standby');
  assert.equal(dutyOf(claim, 'n1', true).forwardTo, 'n2');
  assert.equal(switchClaim(claim, 'n2').type, 'same');
  const back = written(switchClaim(claim, 'n1'));
  assert.equal(dutyOf(back, 'n1', true).endpoint, 'active');
  // The machine that has gone for good leaves nothing behind.
  claim = written(releaseClaim(claim, on('n1'), 5));
  assert.equal(claim.standby, null);
  assert.equal(claim.holder, 'pod-on-n2');
});

test('a released address stays its time as the leader sees it, whatever the wall clock says', () => {
  const expiry = new ClaimExpiry();
  const claim = written(releaseClaim(home(), on('n1'), 1_000_000));
  assert.deepEqual(expiry.observe([claim], 500), []);
  assert.deepEqual(expiry.observe([claim], 60_499), []);
  const [expired] = expiry.observe([claim], 60_500);
  assert.deepEqual(expired, { address: '10.0.1.5', epoch: 1, releasedAt: 1_000_000 });
  assert.equal(expireClaim(claim, 1, 1_000_000).type, 'delete');
  const again = written(takeClaim(claim, wish, on('n2')));
  refused(expireClaim(again, 1, 1_000_000), 'claim-in-use');
  // A clock that jumps back, a new leader, or use between: the wait begins anew.
  assert.deepEqual(expiry.observe([claim], 100), []);
  assert.deepEqual(expiry.observe([claim], 60_099), []);
  assert.deepEqual(expiry.observe([again], 60_100), []);
  assert.deepEqual(expiry.observe([claim], 60_101), []);
  assert.deepEqual(new ClaimExpiry().observe([claim], 1e9), []);
});

test('a reservation keeps an address before there is a pod, and lets it go in time', () => {
  const reserved = { ...wish, reservation: 'shop/db', ttlSeconds: null };
  let claim = written(reserveClaim(undefined, reserved));
  assert.equal(reserveClaim(claim, reserved).type, 'same');
  refused(reserveClaim(claim, { ...reserved, owner: owner(3) }), 'claim-held');
  assert.deepEqual(new ClaimExpiry().observe([claim], 0), []);
  claim = written(takeClaim(claim, wish, on('n2')));
  assert.equal(claim.ttlSeconds, null);
  claim = written(unreserveClaim(claim, 60, 7));
  assert.equal(claim.releasedAt, null);
  assert.equal(releaseClaim(claim, on('n2'), 9).type, 'write');
});

test('whatever order steps come in, one endpoint is active and a way to it is announced', () => {
  const nodes = ['n1', 'n2', 'n3'] as const;
  const step = fc.record({
    type: fc.constantFrom('take', 'announce', 'withdrawn', 'release', 'standby', 'switch'),
    node: fc.constantFrom(...nodes),
    pod: fc.nat(1),
    late: fc.nat(2),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let claim = home();
      for (const { type, node, pod, late } of steps) {
        const place = on(node, `${node}-${pod}`);
        const before = claim;
        const result =
          type === 'take'
            ? takeClaim(claim, wish, place)
            : type === 'announce'
              ? announceClaim(claim, node, claim.epoch - late)
              : type === 'withdrawn'
                ? withdrawnClaim(claim, node)
                : type === 'release'
                  ? releaseClaim(claim, place, 1)
                  : type === 'standby'
                    ? standbyClaim(claim, owner(0), place)
                    : switchClaim(claim, node);
        if (result.type === 'write') ({ claim } = result);
        assert.deepEqual(parseClaim(JSON.parse(JSON.stringify(claim))), claim);
        assert.ok(claim.epoch >= before.epoch);
        const duties = nodes.map((name) => dutyOf(claim, name, name === 'n1'));
        const active = duties.filter((duty) => duty.endpoint === 'active').length;
        assert.equal(active, claim.holder === null ? 0 : 1);
        assert.ok(duties.filter((duty) => duty.publish).length <= 1);
        if (claim.holder === null) assert.ok(duties.every((duty) => !duty.announce));
        for (const [index, duty] of duties.entries()) {
          // Whoever draws traffic has the endpoint or sends on to who has.
          // A route is kept for as long as nobody else has one.
          if (duty.announce) assert.ok(duty.endpoint === 'active' || duty.forwardTo === claim.at);
          assert.notEqual(duty.forwardTo, nodes[index]);
        }
      }
    }),
  );
});

test('any JSON is a claim or refused with our error', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      try {
        parseClaim(value);
      } catch (error) {
        assert.ok(error instanceof IpamError && error.code === 'claim-invalid');
      }
    }),
  );
  assert.throws(() => parseClaim({ ...home(), epoch: -1 }), { field: 'epoch' });
  assert.throws(() => parseClaim({ ...home(), address: '10.0.1.05' }), { field: 'address' });
});
