import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import { foreignSuite } from '../testing/foreign-suite.ts';
import { startBird } from '../testing/routers.ts';
import { eventually, far, ours, Site, theirs } from '../testing/site.ts';
import { Bfd } from './shell.ts';
import { Micros } from './values.ts';
import { type AuthType, authTypes } from './wire/auth.ts';

function config(interval: number, multiplier: number): string {
  const timers = `interval ${interval} ms; idle tx interval 1 s; multiplier ${multiplier};`;
  return `protocol bfd them {
  interface "e0" { ${timers} };
  multihop { ${timers} };
  neighbor ${ours.ipv4} dev "e0";
  neighbor ${ours.ipv6} dev "e0";
  neighbor ${ours.linkLocal} dev "e0";
  neighbor ${far.ours.ipv4} local ${far.theirs.ipv4} multihop;
  neighbor ${far.ours.ipv6} local ${far.theirs.ipv6} multihop;
}
`;
}

foreignSuite({
  name: 'BIRD',
  // It sends with the system's 64.
  minTtl: 60,
  saysAdminDown: false,
  start: startBird,
  config,
  async disable(daemon) {
    await daemon.ask('disable', 'them');
  },
  async enable(daemon) {
    await daemon.ask('enable', 'them');
  },
});

const words: Readonly<Record<AuthType, string>> = {
  simple: 'simple',
  'keyed-md5': 'keyed md5',
  'meticulous-keyed-md5': 'meticulous keyed md5',
  'keyed-sha1': 'keyed sha1',
  'meticulous-keyed-sha1': 'meticulous keyed sha1',
};

test('BIRD: every kind of authentication comes up; a wrong key does not', async () => {
  using site = new Site();
  const withKey = (type: AuthType, password: string) => `protocol bfd them {
  interface "e0" {
    interval 50 ms; multiplier 3;
    authentication ${words[type]}; password "${password}" { id 7; };
  };
  neighbor ${ours.ipv4} dev "e0";
  neighbor ${ours.ipv6} dev "e0";
}
`;
  const specs = (type: AuthType, key: string) =>
    [theirs.ipv4, theirs.ipv6].map((remote) => ({
      remote: Address.parse(remote),
      hops: 'single' as const,
      desiredMinTx: Micros.of(50_000),
      requiredMinRx: Micros.of(50_000),
      multiplier: 3,
      auth: { type, keyId: 7, key: new TextEncoder().encode(key) },
    }));
  await using bfd = await Bfd.start({ netns: site.ourPath });
  for (const type of Object.keys(authTypes) as AuthType[]) {
    await using bird = await startBird(site, withKey(type, 'a good secret'));
    const said = async () => JSON.stringify(await bfd.sessions(), null, 1) + bird.log();
    const up = () =>
      eventually(
        `${type} is up`,
        async () =>
          ((await bfd.sessions()).every(({ state }) => state === 'up') &&
            (await bird.sessions()).every(({ state }) => state === 'up')) ||
          undefined,
        30_000,
        said,
      );
    await bfd.configure(specs(type, 'a good secret'));
    await up();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const flaps = (await bfd.sessions()).map((row) => row.flaps);
    assert.deepEqual(flaps, [0, 0], type);
    await bfd.configure(specs(type, 'a bad secret'));
    await eventually(
      `${type} falls with another key`,
      async () => (await bfd.sessions()).every(({ state }) => state === 'down') || undefined,
      30_000,
      said,
    );
    for (const { packets } of await bfd.sessions())
      assert.ok((packets.discarded['auth-digest'] ?? 0) > 0);
    // The next kind begins with sessions of its own.
    await bfd.configure([]);
    await eventually(
      'the sessions are gone',
      async () => ((await bfd.sessions()).length === 0 ? true : undefined),
      6000,
    );
  }
});
