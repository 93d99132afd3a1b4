import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Address, Mac } from '@causeway/ip';
import { Features } from '@causeway/linux';
import { constantsOf, type DatapathConfig, secondsOf, ticksOf, traitsOf } from './config.ts';

const traits = { setRetval: true, netnsCookie: true, coarseClock: true, fibSkipNeighbour: true };
const good: DatapathConfig = {
  ipv4: true,
  ipv6: true,
  host: { ifindex: 5, mac: Mac.parse('02:00:00:00:00:05') },
  gateways: { ipv4: Address.parse('10.0.0.1'), ipv6: Address.parse('fd00::1') },
};

describe('config', () => {
  test('becomes constants, with defaults for what is not said', () => {
    const constants = constantsOf(good, traits);
    assert.equal(constants.host_ifindex, 5);
    assert.deepEqual(constants.host_device_mac, Uint8Array.of(2, 0, 0, 0, 0, 5, 0, 0));
    assert.equal(constants.overlay_ifindex, 0);
    assert.deepEqual([constants.nat_port_min, constants.nat_port_max], [49_152, 65_535]);
    assert.equal(constants.fib_flags, 4);
  });

  for (const [field, config] of [
    ['ipv4', { ...good, ipv4: false, ipv6: false }],
    ['host.ifindex', { ...good, host: { ...good.host, ifindex: 0 } }],
    ['gateways.ipv4', { ...good, gateways: { ipv4: Address.parse('fd00::1') } }],
    ['gateways.ipv6', { ...good, gateways: { ipv6: Address.parse('10.0.0.1') } }],
    ['overlay.mtu', { ...good, overlay: { ifindex: 3, mtu: 100 } }],
    ['natPorts.first', { ...good, natPorts: { first: 0, last: 10 } }],
    ['natPorts.last', { ...good, natPorts: { first: 2000, last: 1000 } }],
    ['timeouts.tcp', { ...good, timeouts: { tcp: -1 } }],
    ['timeouts.udp', { ...good, timeouts: { udp: Number.NaN } }],
  ] as const) {
    test(`a bad ${field} is refused by name`, () => {
      assert.throws(() => constantsOf(config, traits), {
        code: 'bad-config',
        message: new RegExp(`^config\\.${field.replace('.', '\\.')}: `),
      });
    });
  }

  test('newer helpers are used only where the kernel has them', () => {
    const features = new Features({ 'set-retval': false, 'netns-cookie': true });
    assert.deepEqual(traitsOf(features, '5.10.0-20-amd64'), {
      setRetval: false,
      netnsCookie: true,
      coarseClock: false,
      fibSkipNeighbour: false,
    });
    assert.equal(traitsOf(features, '6.3.1').fibSkipNeighbour, true);
  });

  test('ticks are about seconds, never zero', () => {
    assert.equal(ticksOf(0.001), 1);
    assert.ok(Math.abs(secondsOf(ticksOf(21_600)) - 21_600) < 1);
  });
});
