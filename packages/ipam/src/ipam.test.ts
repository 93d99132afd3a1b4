import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import type { PodCidr } from './cidrs.ts';
import { IpamError, type IpamErrorCode } from './errors.ts';
import { NodeIpam } from './ipam.ts';

const QUARANTINE = 60_000;
const cidrs = (...texts: string[]): PodCidr[] =>
  texts.map((text) => ({ prefix: Prefix.parse(text) }));
const pod = (n: number | string) => ({ containerId: `pod-${n}`, ifname: 'eth0' });
const ip = (text: string) => Address.parse(text);
const make = (...texts: string[]) =>
  new NodeIpam({ cidrs: cidrs(...texts), quarantineMs: QUARANTINE });
const refuses = (run: () => unknown, code: IpamErrorCode, field?: string): IpamError => {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof IpamError, String(error));
    assert.equal(error.code, code);
    if (field !== undefined) assert.equal(error.field, field);
    return error;
  }
  throw new assert.AssertionError({ message: `expected ${code}` });
};
const both = { ipv4: 'any', ipv6: 'any' } as const;

test('the first pod gets the address after the gateway, in both families at once', () => {
  const ipam = make('10.0.1.0/24', 'fd00:1::/64');
  assert.deepEqual(ipam.allocate(pod(1), both, 0), {
    owner: pod(1),
    ipv4: { address: '10.0.1.2', prefix: '10.0.1.0/24', gateway: '10.0.1.1' },
    ipv6: { address: 'fd00:1::2', prefix: 'fd00:1::/64', gateway: 'fd00:1::1' },
  });
  assert.deepEqual(ipam.ownerOf(ip('fd00:1::2')), pod(1));
});

test('asking again gives the same, and adds a family that was not asked for before', () => {
  const ipam = make('10.0.1.0/24', 'fd00:1::/64');
  const first = ipam.allocate(pod(1), { ipv4: 'any' }, 0);
  assert.deepEqual(ipam.allocate(pod(1), { ipv4: 'any' }, 0), first);
  const second = ipam.allocate(pod(1), both, 0);
  assert.deepEqual(second.ipv4, first.ipv4);
  assert.equal(second.ipv6?.address, 'fd00:1::2');
  refuses(() => ipam.allocate(pod(1), { ipv4: ip('10.0.1.9') }, 0), 'owner-has-other', 'ipv4');
});

test('a family that is full takes no address of the other', () => {
  const ipam = make('10.0.1.0/24', 'fd00:1::/127');
  ipam.allocate(pod(1), both, 0);
  refuses(() => ipam.allocate(pod(2), both, 0), 'exhausted', 'ipv6');
  assert.equal(ipam.lookup(pod(2)), undefined);
  assert.equal(ipam.stats(0)[0]?.used, 1n);
});

test('network, gateway and broadcast are never given; two-address CIDRs hold one pod', () => {
  for (const [cidr, pods, first, last] of [
    ['192.0.2.0/30', 1, '192.0.2.2', '192.0.2.2'],
    ['192.0.2.0/31', 1, '192.0.2.1', '192.0.2.1'],
    ['192.0.2.0/28', 13, '192.0.2.2', '192.0.2.14'],
    ['2001:db8::/127', 1, '2001:db8::1', '2001:db8::1'],
    ['2001:db8::/124', 14, '2001:db8::2', '2001:db8::f'],
  ] as const) {
    const ipam = make(cidr);
    const family = Prefix.family(Prefix.parse(cidr));
    const given = Array.from(
      { length: pods },
      (_, i) => ipam.allocate(pod(i), { [family]: 'any' }, 0)[family]?.address,
    );
    assert.equal(new Set(given).size, pods);
    assert.equal(given[0], first);
    assert.equal(given.at(-1), last);
    refuses(() => ipam.allocate(pod('more'), { [family]: 'any' }, 0), 'exhausted', family);
  }
  refuses(() => make('10.0.0.1/32'), 'cidr-too-small');
  refuses(() => make('fd00::1/128'), 'cidr-too-small');
});

test('a released address rests for the quarantine, and the refusal says how long', () => {
  const ipam = make('192.0.2.0/30');
  ipam.allocate(pod(1), { ipv4: 'any' }, 1_000);
  assert.equal(ipam.release(pod(1), 2_000)?.ipv4?.address, '192.0.2.2');
  assert.equal(ipam.release(pod(1), 2_000), undefined);
  const error = refuses(() => ipam.allocate(pod(2), { ipv4: 'any' }, 12_000), 'exhausted');
  assert.equal(error.retryAfterMs, QUARANTINE - 10_000);
  const named = refuses(
    () => ipam.allocate(pod(2), { ipv4: ip('192.0.2.2') }, 12_000),
    'address-quarantined',
  );
  assert.equal(named.retryAfterMs, QUARANTINE - 10_000);
  assert.equal(
    ipam.allocate(pod(2), { ipv4: 'any' }, 2_000 + QUARANTINE).ipv4?.address,
    '192.0.2.2',
  );
});

test('where nothing else is left, what has rested longest is given early, and not before its least rest', () => {
  const leastRestMs = 2_000;
  const ipam = new NodeIpam({
    cidrs: cidrs('192.0.2.0/29'),
    quarantineMs: QUARANTINE,
    leastRestMs,
  });
  for (let i = 0; i < 4; i += 1) ipam.allocate(pod(i), { ipv4: 'any' }, 0);
  ipam.release(pod(2), 1_000);
  ipam.release(pod(0), 1_500);
  // One address was never used: it comes first.
  assert.equal(ipam.allocate(pod(5), { ipv4: 'any' }, 2_900).ipv4?.address, '192.0.2.6');
  const error = refuses(() => ipam.allocate(pod(6), { ipv4: 'any' }, 2_900), 'exhausted');
  assert.equal(error.retryAfterMs, 100);
  assert.equal(ipam.allocate(pod(6), { ipv4: 'any' }, 3_000).ipv4?.address, '192.0.2.4');
  refuses(() => ipam.allocate(pod(7), { ipv4: ip('192.0.2.2') }, 9_000), 'address-quarantined');
  assert.equal(ipam.allocate(pod(7), { ipv4: 'any' }, 9_000).ipv4?.address, '192.0.2.2');
  assert.equal(ipam.stats(9_000)[0]?.quarantined, 0n);
  assert.throws(() => new NodeIpam({ cidrs: [], quarantineMs: 1, leastRestMs: 2 }), {
    code: 'option-invalid',
  });
});

test('a clock that runs backwards ends no quarantine early', () => {
  const ipam = make('192.0.2.0/30');
  ipam.allocate(pod(1), { ipv4: 'any' }, 100_000);
  ipam.release(pod(1), 5);
  refuses(() => ipam.allocate(pod(2), { ipv4: 'any' }, 100_000 + QUARANTINE - 1), 'exhausted');
  ipam.allocate(pod(2), { ipv4: 'any' }, 100_000 + QUARANTINE);
});

test('an address by name is refused with the reason', () => {
  const ipam = make('10.0.1.0/24', 'fd00:1::/64');
  assert.equal(ipam.allocate(pod(1), { ipv4: ip('10.0.1.77') }, 0).ipv4?.address, '10.0.1.77');
  refuses(() => ipam.allocate(pod(2), { ipv4: ip('10.0.1.77') }, 0), 'address-taken');
  refuses(() => ipam.allocate(pod(2), { ipv4: ip('10.0.1.1') }, 0), 'address-reserved');
  refuses(() => ipam.allocate(pod(2), { ipv4: ip('10.0.1.255') }, 0), 'address-reserved');
  refuses(() => ipam.allocate(pod(2), { ipv4: ip('10.0.2.1') }, 0), 'address-outside');
  refuses(() => ipam.allocate(pod(2), { ipv4: ip('fd00:1::9') }, 0), 'request-invalid');
  refuses(() => ipam.allocate(pod(2), { ipv4: '10.0.1' as Address }, 0), 'request-invalid');
  refuses(() => ipam.allocate(pod(2), {}, 0), 'request-invalid');
  refuses(() => ipam.allocate({ containerId: 'a/b', ifname: 'x' }, both, 0), 'owner-invalid');
  assert.equal(ipam.leases().length, 1);
});

test('a draining CIDR gives nothing new and empties by itself', () => {
  const ipam = make('10.0.1.0/24', '10.0.2.0/24');
  ipam.allocate(pod(1), { ipv4: 'any' }, 0);
  const [first, second] = cidrs('10.0.1.0/24', '10.0.2.0/24') as [PodCidr, PodCidr];
  ipam.setCidrs([{ ...first, draining: true }, second], 0);
  assert.equal(ipam.allocate(pod(2), { ipv4: 'any' }, 0).ipv4?.address, '10.0.2.2');
  refuses(() => ipam.allocate(pod(3), { ipv4: ip('10.0.1.9') }, 0), 'cidr-draining');
  ipam.setCidrs([{ ...first, draining: true }], 0);
  refuses(() => ipam.allocate(pod(3), { ipv4: 'any' }, 0), 'no-cidr');
  const options = { quarantineMs: 0, drainingAsLastResort: true };
  const lenient = new NodeIpam({ ...options, cidrs: [{ ...first, draining: true }] });
  assert.equal(lenient.allocate(pod(3), { ipv4: 'any' }, 0).ipv4?.address, '10.0.1.2');
});

test('named pools give only to whom they are meant for; a CIDR nobody knows the way to comes last', () => {
  const ipam = make();
  ipam.setCidrs(
    [
      { prefix: Prefix.parse('10.0.1.0/30'), pool: 'a', usable: false },
      { prefix: Prefix.parse('10.0.2.0/30'), pool: 'a' },
      { prefix: Prefix.parse('10.0.3.0/30'), pool: 'b' },
      { prefix: Prefix.parse('10.0.4.0/30') },
    ],
    0,
  );
  const give = (n: number, pool?: string | null) =>
    ipam.allocate(pod(n), { ipv4: pool === undefined ? 'any' : { pool } }, 0).ipv4;
  assert.deepEqual(give(1, 'a'), {
    address: '10.0.2.2',
    prefix: '10.0.2.0/30',
    gateway: '10.0.2.1',
    pool: 'a',
  });
  assert.deepEqual([give(2, 'a')?.address, give(2, 'a')?.early], ['10.0.1.2', true]);
  assert.match(refuses(() => give(3, 'a'), 'exhausted').message, /of pool a/);
  assert.match(refuses(() => give(3, 'c'), 'no-cidr').message, /of pool c/);
  assert.equal(give(3, null)?.address, '10.0.4.2');
  assert.equal(give(4)?.address, '10.0.3.2');
  const named = { ipv4: { pool: 'b', address: ip('10.0.1.2') } };
  refuses(() => ipam.allocate(pod(5), named, 0), 'address-taken');
});

test('a claimed address is given to nobody but its owner, who has it also where it rests or is not of the node', () => {
  const ipam = make('10.0.1.0/29', 'fd00:1::/125');
  ipam.claim(ip('10.0.1.2'));
  ipam.claim(ip('192.0.2.10'));
  assert.equal(ipam.allocate(pod(1), both, 0).ipv4?.address, '10.0.1.3');
  refuses(() => ipam.allocate(pod(2), { ipv4: ip('10.0.1.2') }, 0), 'address-claimed');
  const claimed = (address: string) => ({ ipv4: { address: ip(address), claimed: true } });
  assert.equal(ipam.allocate(pod(2), claimed('10.0.1.2'), 0).ipv4?.gateway, '10.0.1.1');
  refuses(() => ipam.allocate(pod(3), claimed('10.0.1.2'), 0), 'address-taken');
  assert.deepEqual(ipam.allocate(pod(3), claimed('192.0.2.10'), 0).ipv4, { address: '192.0.2.10' });
  // Its owner need not wait for the rest that is meant for others.
  ipam.release(pod(2), 0);
  assert.equal(ipam.allocate(pod(4), claimed('10.0.1.2'), 1).ipv4?.address, '10.0.1.2');
  ipam.release(pod(4), 1);
  assert.equal(ipam.stats(2)[0]?.quarantined, 1n);
  assert.equal(ipam.stats(1 + QUARANTINE)[0]?.claimed, 1n);
  // A CIDR that comes later keeps it too; without its claim it is like any other.
  ipam.setCidrs(cidrs('192.0.2.8/29', '10.0.1.0/29'), 1 + QUARANTINE);
  assert.equal(ipam.lookup(pod(3))?.ipv4?.gateway, '192.0.2.9');
  ipam.unclaim(ip('10.0.1.2'));
  assert.equal(ipam.stats(1 + QUARANTINE)[1]?.claimed, 0n);
});

test('a CIDR taken away while in use leaves with its last address, after its quarantine', () => {
  const ipam = make('10.0.1.0/24');
  ipam.allocate(pod(1), { ipv4: 'any' }, 0);
  assert.deepEqual(ipam.setCidrs(cidrs('10.0.2.0/24'), 0), {
    added: ['10.0.2.0/24'],
    removed: [],
    leaving: ['10.0.1.0/24'],
  });
  assert.equal(ipam.lookup(pod(1))?.ipv4?.gateway, '10.0.1.1');
  ipam.release(pod(1), 0);
  assert.deepEqual(ipam.expire(QUARANTINE - 1), []);
  assert.deepEqual(ipam.expire(QUARANTINE), ['10.0.1.0/24']);
  assert.deepEqual(
    ipam.stats(QUARANTINE).map((pool) => pool.prefix),
    ['10.0.2.0/24'],
  );
});

test('a CIDR grows and shrinks under running pods without giving an address twice', () => {
  const ipam = make('10.0.0.0/30');
  ipam.allocate(pod(1), { ipv4: 'any' }, 0);
  ipam.setCidrs(cidrs('10.0.0.0/29'), 0);
  const given = [2, 3, 4].map((n) => ipam.allocate(pod(n), { ipv4: 'any' }, 0).ipv4?.address);
  assert.deepEqual(given, ['10.0.0.3', '10.0.0.4', '10.0.0.5']);
  ipam.setCidrs(cidrs('10.0.0.0/30'), 0);
  refuses(() => ipam.allocate(pod(9), { ipv4: 'any' }, 0), 'exhausted');
  assert.equal(ipam.leases().length, 4);
});

test('a change of CIDRs that cannot be is refused whole', () => {
  const ipam = make('10.0.1.0/24');
  ipam.allocate(pod(1), { ipv4: ip('10.0.1.129') }, 0);
  const before = ipam.snapshot(0);
  refuses(() => ipam.setCidrs(cidrs('10.0.0.0/16', '10.0.3.0/24'), 0), 'cidr-overlap');
  refuses(() => ipam.setCidrs(cidrs('10.0.5.0/24', '10.0.1.128/25'), 0), 'cidr-overlap');
  refuses(() => ipam.setCidrs([{ prefix: '10.0.1.1/24' as Prefix }], 0), 'cidr-invalid');
  assert.deepEqual(ipam.snapshot(0), before);
});

test('restoring keeps what is in use and reports what does not fit', () => {
  const ipam = make('10.0.1.0/24', 'fd00:1::/64');
  const conflicts = ipam.restore(
    [
      { owner: pod(1), ipv4: ip('10.0.1.5'), ipv6: ip('fd00:1::5') },
      { owner: pod(1), ipv4: ip('10.0.1.5') },
      { owner: pod(1), ipv4: ip('10.0.1.6') },
      { owner: pod(2), ipv4: ip('10.0.1.5') },
      { owner: pod(3), ipv4: ip('10.0.9.9') },
      { owner: pod(4), ipv4: ip('10.0.1.1') },
      { owner: { containerId: '', ifname: 'eth0' }, ipv4: ip('10.0.1.7') },
      { owner: pod(5), ipv6: 'nonsense' as Address },
    ],
    0,
  );
  assert.deepEqual(
    conflicts.map((conflict) => conflict.type),
    ['owner-has-other', 'taken', 'outside', 'reserved', 'owner-invalid', 'address-invalid'],
  );
  ipam.setCidrs(cidrs('10.0.1.0/24', 'fd00:1::/64', '10.0.9.0/24'), 0);
  refuses(() => ipam.allocate(pod(6), { ipv4: ip('10.0.9.9') }, 0), 'address-taken');
  assert.equal(ipam.lookup(pod(3))?.ipv4?.gateway, '10.0.9.1');
});

test('random choice needs only the numbers handed in and reaches a /64', () => {
  let seed = 7;
  const random = () => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return seed / 0x1_0000_0000;
  };
  const options = { quarantineMs: 0, choice: { type: 'random', random } } as const;
  const ipam = new NodeIpam({ ...options, cidrs: cidrs('10.0.1.0/28', 'fd00:1::/64') });
  const leases = Array.from({ length: 13 }, (_, i) => ipam.allocate(pod(i), both, 0));
  assert.equal(new Set(leases.map((lease) => lease.ipv4?.address)).size, 13);
  assert.equal(new Set(leases.map((lease) => lease.ipv6?.address)).size, 13);
  const spread = leases.filter((lease) => (Address.toBigInt(lease.ipv6!.address) >> 32n) & 0xffffn);
  assert.ok(spread.length > 10);
});

test('the last of 60,000 pods in a /16 and a /64 costs about what the first did', () => {
  const ipam = make('10.0.0.0/16', 'fd00:1::/64');
  // Processor time, which a busy machine does not change.
  const fill = (from: number, to: number): number => {
    const before = process.cpuUsage();
    for (let i = from; i < to; i += 1) ipam.allocate(pod(i), both, 0);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1_000;
  };
  const first = fill(0, 10_000);
  fill(10_000, 50_000);
  const last = fill(50_000, 60_000);
  assert.ok(last < 10 * first + 100, `10,000 pods took ${first} ms, the last 10,000 ${last} ms`);
  const [v4, v6] = ipam.stats(0);
  assert.equal(v4?.free, 65_536n - 3n - 60_000n);
  assert.equal(v6?.free, (1n << 64n) - 2n - 60_000n);
});
