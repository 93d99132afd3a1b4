import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import type { InterfaceAddress, Link, NextHop, Route } from '@causeway/linux';
import type { KernelConfig } from '../config/settings.ts';
import { Fib } from './fib.ts';
import { planRoute } from './plan.ts';

const bytes = (text: string) => Address.toBytes(Address.parse(text));

function route(
  prefix: string,
  way: {
    via?: string;
    dev?: number;
    hops?: readonly NextHop[];
    metric?: number;
    type?: Route['type'];
  },
): Route {
  const parsed = Prefix.parse(prefix);
  return {
    family: Prefix.family(parsed) === 'ipv4' ? 4 : 6,
    destination: Prefix.length(parsed) === 0 ? undefined : Address.toBytes(Prefix.address(parsed)),
    prefixLength: Prefix.length(parsed),
    type: way.type ?? 'unicast',
    table: 254,
    protocol: 3,
    via: way.via === undefined ? undefined : bytes(way.via),
    ifindex: way.dev,
    onlink: false,
    scope: 0,
    source: undefined,
    metric: way.metric,
    mtu: undefined,
    nextHops: way.hops ?? [],
    nextHopId: undefined,
  };
}

const link = (index: number, name: string, running = true) =>
  ({ index, name, up: true, running, loopback: false }) as Link;
const own = (address: string, prefixLength: number, ifindex: number) =>
  ({ address: bytes(address), prefixLength, ifindex }) as InterfaceAddress;

/** A node of a rack: 10.1.0.0/24 and 2001:db8:1::/64 on eth0, the rack's switch is .254. */
function rack(): Fib {
  const fib = new Fib();
  fib.setLink(link(2, 'eth0'));
  fib.setLink(link(3, 'eth1'));
  fib.setAddress(own('10.1.0.5', 24, 2));
  fib.setAddress(own('2001:db8:1::5', 64, 2));
  fib.setRoute(route('10.1.0.0/24', { dev: 2 }));
  fib.setRoute(route('2001:db8:1::/64', { dev: 2, metric: 256 }));
  fib.setRoute(route('0.0.0.0/0', { via: '10.1.0.254', dev: 2, metric: 100 }));
  fib.setRoute(route('::/0', { via: 'fe80::1', dev: 2, metric: 1024 }));
  return fib;
}

test('next hops are found by longest match and metric, over links that have a carrier', () => {
  const fib = rack();
  const at = (text: string) => fib.resolve(Address.parse(text));
  assert.deepEqual(at('10.1.0.9'), { ifindex: 2, metric: 0, prefix: '10.1.0.0/24' });
  assert.deepEqual(at('192.0.2.1'), {
    ifindex: 2,
    gateway: '10.1.0.254',
    metric: 100,
    prefix: '0.0.0.0/0',
  });
  fib.setRoute(route('192.0.2.0/24', { via: '10.2.0.1', dev: 3, metric: 20 }));
  fib.setRoute(route('192.0.2.0/24', { via: '10.1.0.7', dev: 2, metric: 30 }));
  assert.equal(at('192.0.2.1')?.gateway, '10.2.0.1');
  fib.setLink(link(3, 'eth1', false));
  assert.equal(at('192.0.2.1')?.gateway, '10.1.0.7');
  fib.deleteRoute(route('192.0.2.0/24', { metric: 30 }));
  assert.equal(at('192.0.2.1')?.gateway, '10.1.0.254');
  fib.setRoute(route('192.0.2.0/24', { type: 'blackhole', metric: 1 }));
  assert.equal(at('192.0.2.1')?.gateway, '10.1.0.254');
  assert.deepEqual(fib.defaultGateways('ipv6'), [{ address: 'fe80::1', ifindex: 2, metric: 1024 }]);
  assert.equal(fib.isDefaultGateway(Address.parse('10.1.0.254')), true);
  fib.deleteRoute(route('0.0.0.0/0', { metric: 100 }));
  assert.equal(at('192.0.2.1'), undefined);
  assert.equal(fib.subnetOf(Address.parse('2001:db8:1::77')), '2001:db8:1::/64');
  assert.equal(fib.isOwnAddress(Address.parse('10.1.0.5')), true);
  fib.setLink(link(2, 'wan'));
  assert.deepEqual([fib.link('eth0'), fib.link('wan')?.index], [undefined, 2]);
});

test('what is installed in each mode, and why not', () => {
  const fib = rack();
  const config = (mode: KernelConfig['mode'], ...prefixes: string[]): KernelConfig => ({
    mode,
    prefixes: prefixes.length === 0 ? undefined : prefixes.map((text) => Prefix.parse(text)),
    table: 254,
    metric: 512,
  });
  const peers = {
    tor: { external: true, address: Address.parse('10.1.0.253') },
    reflector: { external: false, address: Address.parse('10.9.0.1') },
    node: { external: false, address: Address.parse('10.1.0.9') },
  };
  const plan = (
    settings: KernelConfig,
    prefix: string,
    ...nextHops: [address: string, peer: keyof typeof peers, device?: string][]
  ) => {
    const outcome = planRoute(
      {
        prefix: Prefix.parse(prefix),
        nextHops: nextHops.map(([address, peer, device]) => ({
          address,
          peer,
          ...(device === undefined ? {} : { device }),
        })),
      },
      settings,
      fib,
      (name) => peers[name as keyof typeof peers],
    );
    return outcome.type === 'leave' ? outcome.why : outcome.hops.map(({ via }) => via as string);
  };
  const pods = '10.40.3.0/24';
  assert.equal(plan(config('none'), pods, ['10.1.0.9', 'tor']), 'mode-none');
  assert.deepEqual(plan(config('all'), pods, ['10.1.0.9', 'tor']), ['10.1.0.9']);
  assert.deepEqual(plan(config('all'), pods, ['192.0.2.7', 'reflector']), ['10.1.0.254']);
  assert.deepEqual(
    plan(config('all'), pods, ['192.0.2.7', 'reflector'], ['192.0.2.8', 'reflector']),
    ['10.1.0.254'],
  );
  assert.deepEqual(plan(config('all'), pods, ['10.1.0.8', 'tor'], ['10.1.0.9', 'tor']), [
    '10.1.0.8',
    '10.1.0.9',
  ]);
  assert.equal(plan(config('all'), pods, ['10.1.0.5', 'tor']), 'next-hop-own');
  assert.deepEqual(plan(config('all'), pods, ['fe80::7', 'tor', 'eth1']), ['fe80::7']);
  assert.equal(plan(config('all'), pods, ['fe80::7', 'tor', 'eth9']), 'next-hop-unreachable');
  assert.deepEqual(plan(config('prefixes', '10.40.0.0/16'), pods, ['10.1.0.9', 'tor']), [
    '10.1.0.9',
  ]);
  assert.equal(
    plan(config('prefixes', '10.41.0.0/16', 'fd00::/8'), pods, ['10.1.0.9', 'tor']),
    'outside-prefixes',
  );
  assert.equal(
    plan(config('prefixes', '10.40.3.0/25'), pods, ['10.1.0.9', 'tor']),
    'outside-prefixes',
  );
  const sameRack = config('same-rack');
  assert.deepEqual(plan(sameRack, pods, ['10.1.0.9', 'tor']), ['10.1.0.9']);
  assert.deepEqual(plan(sameRack, pods, ['10.1.0.9', 'reflector']), ['10.1.0.9']);
  assert.deepEqual(plan(sameRack, pods, ['10.1.0.9', 'node']), ['10.1.0.9']);
  assert.equal(plan(sameRack, pods, ['192.0.2.7', 'reflector']), 'not-on-link');
  assert.equal(plan(sameRack, pods, ['10.1.0.254', 'reflector']), 'next-hop-is-router');
  assert.equal(plan(sameRack, pods, ['10.1.0.253', 'tor']), 'next-hop-is-router');
  assert.deepEqual(plan(sameRack, 'fd40:3::/64', ['2001:db8:1::9', 'tor']), ['2001:db8:1::9']);
  assert.deepEqual(plan(sameRack, pods, ['10.1.0.253', 'tor'], ['10.1.0.9', 'tor']), ['10.1.0.9']);
});
