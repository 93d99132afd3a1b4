import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  type Enforcement,
  lookupVerdict,
  maskPort,
  type PolicyEntry,
  type PolicyInfo,
  packL4,
} from '@causeway/policy';
import fc from 'fast-check';
import { frame } from './testing/frames.ts';
import type { TestPod } from './testing/node-site.ts';
import { Rig } from './testing/rig.ts';

const bits = (entries: readonly PolicyEntry[], direction: 'ingress' | 'egress') =>
  entries
    .filter((entry) => entry.direction === direction && entry.protocol !== 0)
    .reduce((sum, entry) => sum | (1 << entry.prefixLength), 0);

describe('policy', () => {
  let rig: Rig;
  let client: TestPod;
  let server: TestPod;
  let nextPort = 10_000;
  let revision = 1;

  before(() => {
    rig = new Rig({ name: 'po', number: 1 });
    client = rig.addPod(2, 1001);
    server = rig.addPod(3, 1002);
  });
  after(() => rig[Symbol.dispose]());

  const allow = (over: Partial<PolicyEntry> = {}): PolicyEntry => ({
    direction: 'ingress',
    identity: 1001,
    protocol: 6,
    prefixLength: 16,
    port: 80,
    flags: 0,
    ruleId: 7,
    ...over,
  });

  /** Puts a set in force on an endpoint; what it had goes. */
  function enforce(
    pod: TestPod,
    entries: readonly PolicyEntry[],
    info: Partial<PolicyInfo> = {},
    audit = false,
  ): void {
    const { enforcement } = rig.datapath;
    const policyId = pod.endpointId;
    revision++;
    enforcement.prune((id) => id !== policyId);
    const full: PolicyInfo = {
      revision,
      prefixLengths: { ingress: bits(entries, 'ingress'), egress: bits(entries, 'egress') },
      ingress: 'off',
      egress: 'off',
      ...info,
    };
    enforcement.applySet({ policyId, type: 'created', upserts: entries, deletes: [], info: full });
    rig.putPod(pod, {
      policyId,
      policyRevision: revision,
      ingress: full.ingress,
      egress: full.egress,
      audit,
    });
  }

  const syn = (dport: number, sport = nextPort++, v6 = false) =>
    rig.run(
      'from_pod',
      frame({
        source: v6 ? client.ipv6 : client.ipv4,
        destination: v6 ? server.ipv6 : server.ipv4,
        payload: { type: 'tcp', sport, dport, flags: 'S' },
      }),
      { ifindex: client.hostIfindex },
    );

  test('what no rule allows is dropped by default, and the event says by whose policy', () => {
    enforce(server, [allow()], { ingress: 'enforced' });
    for (const v6 of [false, true]) {
      assert.deepEqual(syn(80, nextPort++, v6).counted, [
        'policy-allow',
        'policy-unenforced',
        'to-pod',
      ]);
      const out = syn(81, nextPort++, v6);
      assert.deepEqual(
        [out.verdict, out.counted],
        ['drop', ['policy-default', 'policy-unenforced']],
      );
      const [event] = out.events;
      assert.deepEqual(
        [
          event?.sourceIdentity,
          event?.destinationIdentity,
          event?.endpoint,
          event?.rule,
          event?.direction,
          event?.destinationPort,
          event?.source,
        ],
        [1001, 1002, 3, 0, 'ingress', 81, v6 ? client.ipv6 : client.ipv4],
      );
    }
  });

  test('deny wins over allow, and the event names the rule', () => {
    enforce(server, [allow({ identity: 0 }), allow({ flags: 1, ruleId: 9 })], {
      ingress: 'enforced',
    });
    const out = syn(80);
    assert.deepEqual(out.counted, ['policy-deny', 'policy-unenforced']);
    assert.equal(out.events[0]?.rule, 9);
  });

  test('a denied or unmatched packet passes on trial, and is told of as audit', () => {
    rig.datapath.setMonitor(['drop', 'verdict']);
    enforce(server, [allow()], { ingress: 'enforced' }, true);
    const unmatched = syn(81);
    assert.deepEqual(
      [unmatched.verdict, unmatched.counted],
      ['redirect', ['policy-audit', 'policy-unenforced', 'to-pod']],
    );
    enforce(server, [allow({ flags: 3, ruleId: 12 })], { ingress: 'audit' });
    const trial = syn(80);
    assert.deepEqual(trial.counted, ['policy-audit', 'policy-unenforced', 'to-pod']);
    assert.deepEqual(
      trial.events.map((event) => [event.type, event.reason.name, event.direction, event.rule]),
      [
        ['verdict', 'policy-unenforced', 'egress', 0],
        ['verdict', 'policy-audit', 'ingress', 12],
      ],
    );
    rig.datapath.setMonitor(['drop', 'audit']);
    assert.deepEqual(
      syn(80).events.map((event) => event.reason.name),
      ['policy-audit'],
    );
    rig.datapath.setMonitor(['drop']);
  });

  test('egress is the sender’s matter', () => {
    enforce(server, []);
    enforce(client, [allow({ direction: 'egress', identity: 1002 })], { egress: 'enforced' });
    assert.equal(syn(80).verdict, 'redirect');
    const out = syn(81);
    assert.deepEqual(
      [out.verdict, out.events[0]?.direction, out.events[0]?.endpoint],
      ['drop', 'egress', 2],
    );
    enforce(client, []);
  });

  test('verdicts are kept for a connection until a revision or the epoch moves', () => {
    enforce(server, [allow()], { ingress: 'enforced' });
    const sport = nextPort++;
    const hits = () => [...rig.datapath.enforcement.hits()].find((row) => row.rule === 7)?.hits;
    assert.deepEqual(syn(80, sport).counted, ['policy-allow', 'policy-unenforced', 'to-pod']);
    assert.deepEqual(syn(80, sport).counted, ['to-pod']);
    assert.equal(hits(), 1n);
    rig.datapath.bumpEpoch();
    assert.deepEqual(syn(80, sport).counted, ['policy-allow', 'policy-unenforced', 'to-pod']);
    assert.equal(hits(), 2n);
    enforce(server, [], { ingress: 'enforced' });
    assert.deepEqual(syn(80, sport).counted, ['policy-default', 'policy-unenforced']);
  });

  test('replies and related errors pass without policy', () => {
    enforce(server, [allow()], { ingress: 'enforced', egress: 'enforced' });
    enforce(client, [allow({ direction: 'egress', identity: 1002 })], {
      ingress: 'enforced',
      egress: 'enforced',
    });
    const sport = nextPort++;
    assert.equal(syn(80, sport).verdict, 'redirect');
    const request = frame({
      source: client.ipv4,
      destination: server.ipv4,
      payload: { type: 'tcp', sport, dport: 80, flags: 'S' },
    });
    const reply = rig.run(
      'from_pod',
      frame({
        source: server.ipv4,
        destination: client.ipv4,
        payload: { type: 'tcp', sport: 80, dport: sport, flags: 'SA' },
      }),
      { ifindex: server.hostIfindex },
    );
    assert.deepEqual([reply.verdict, reply.counted], ['redirect', ['to-pod']]);
    const error = rig.run(
      'from_pod',
      frame({
        source: server.ipv4,
        destination: client.ipv4,
        payload: { type: 'icmp', icmpType: 3, code: 3, body: request.slice(14, 54) },
      }),
      { ifindex: server.hostIfindex },
    );
    assert.deepEqual([error.verdict, error.counted], ['redirect', ['to-pod']]);
    const unrelated = request.slice(14, 54);
    unrelated[21] = 1; // another source port
    const stray = rig.run(
      'from_pod',
      frame({
        source: server.ipv4,
        destination: client.ipv4,
        payload: { type: 'icmp', icmpType: 3, code: 3, body: unrelated },
      }),
      { ifindex: server.hostIfindex },
    );
    assert.deepEqual([stray.verdict, stray.counted], ['drop', ['policy-default']]);
    enforce(client, []);
  });

  test('the kernel’s verdict is that of the policy engine’s lookup, for any set of entries', () => {
    const enforcement = fc.constantFrom<Enforcement>('off', 'audit', 'enforced');
    const entry = fc
      .record({
        direction: fc.constantFrom('ingress' as const, 'egress' as const),
        identity: fc.constantFrom(0, 1001, 1002, 1003),
        protocol: fc.constantFrom(0, 6, 17),
        prefixLength: fc.constantFrom(0, 8, 12, 15, 16),
        port: fc.constantFrom(80, 81, 96, 443),
        flags: fc.constantFrom(0, 1, 2, 3, 7),
        ruleId: fc.integer({ min: 1, max: 1000 }),
      })
      .map((row) => ({
        ...row,
        prefixLength: row.protocol === 0 ? 0 : row.prefixLength,
        port: row.protocol === 0 ? 0 : maskPort(row.port, row.prefixLength),
      }));
    const key = (row: PolicyEntry) =>
      `${row.direction} ${row.identity} ${packL4(0, row.protocol, row.prefixLength, row.port)}`;
    rig.datapath.setMonitor(['drop', 'verdict']);
    fc.assert(
      fc.property(
        fc.uniqueArray(entry, { maxLength: 12, selector: key }),
        enforcement,
        enforcement,
        fc.constantFrom(80, 81, 97, 443),
        fc.boolean(),
        (entries, ingress, egress, port, v6) => {
          enforce(client, []);
          enforce(server, entries, { ingress, egress });
          const found = new Map(entries.map((row) => [key(row), row]));
          const expected = lookupVerdict(
            {
              ingress,
              egress,
              prefixLengths: [bits(entries, 'ingress'), bits(entries, 'egress')],
              get: (identity, l4) => {
                const direction = (l4 & 1) === 0 ? 'ingress' : 'egress';
                return found.get(`${direction} ${identity} ${l4 & ~1}`);
              },
            },
            'ingress',
            1001,
            6,
            port,
          );
          const out = syn(port, nextPort++, v6);
          if (nextPort > 60_000) nextPort = 10_000;
          const verdict = out.events.find((event) => event.direction === 'ingress');
          const actual = {
            type:
              out.verdict === 'drop'
                ? 'deny'
                : verdict?.reason.name === 'policy-audit'
                  ? 'audit'
                  : 'allow',
            rule: verdict?.rule,
          };
          assert.deepEqual(actual, { type: expected.type, rule: expected.ruleId ?? 0 });
        },
      ),
      { numRuns: 120 },
    );
    rig.datapath.setMonitor(['drop']);
  });

  test('a full policy map says so and keeps what is there', () => {
    using tiny = new Rig({ name: 'pf', number: 9, datapath: { limits: { policy: 64 } } });
    const ports = (count: number) => Array.from({ length: count }, (_, port) => allow({ port }));
    const { enforcement } = tiny.datapath;
    enforcement.applySet({ policyId: 1, type: 'created', upserts: ports(40), deletes: [] });
    const before = new Map(tiny.datapath.map('policy').entries());
    assert.throws(
      () =>
        enforcement.applySet({ policyId: 2, type: 'created', upserts: ports(200), deletes: [] }),
      { code: 'map-full', message: /policy is full at its limit of 64/ },
    );
    assert.equal(before.size, 40);
    // Nothing of the change stays: there is room again for one that fits.
    assert.deepEqual(new Map(tiny.datapath.map('policy').entries()), before);
    enforcement.applySet({ policyId: 2, type: 'created', upserts: ports(24), deletes: [] });
    assert.equal(tiny.datapath.map('policy').map.count(), 64);
  });
});
