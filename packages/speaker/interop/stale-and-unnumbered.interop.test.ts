/**
 * What the table of scenarios has no session for: long-lived graceful restart in both roles, links without addresses,
 * and keys that differ, against the real BIRD and the real FRR.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { PeerView } from '../src/views/peer.ts';
import type { RouteView } from '../src/views/route.ts';
import { OurRouter } from '../testing/interop/ours.ts';
import { cable, Namespace } from '../testing/namespaces.ts';
import { eventually } from '../testing/process.ts';
import { type RunningRouter, startBird, startFrr } from '../testing/routers/start.ts';

/** Far more than anything here takes on a busy machine. */
const PATIENCE_MS = 30_000;
const OURS = ['192.0.2.0/24', '2001:db8:2::/48'] as const;
const THEIRS = ['203.0.113.0/24', '2001:db8:113::/48'] as const;
const OUR_ASN = 65_010;
const THEIR_ASN = 65_020;

const families = (more: object = {}) =>
  ['ipv4', 'ipv6'].map((family) => ({
    family: `${family}-unicast`,
    import: 'all',
    export: 'all',
    ...more,
  }));

interface Session {
  readonly name: string;
  readonly peer: object;
  readonly [setting: string]: unknown;
}

const speakerConfig = (sessions: readonly Session[]) => ({
  asn: OUR_ASN,
  routerId: '10.91.0.1',
  listen: [{ address: '::' }],
  // Of our own restart as of theirs little shall be waited for: the long-lived part is what is looked at.
  gracefulRestart: { restartTime: 1, deferral: 1 },
  // biome-ignore lint/suspicious/noThenProperty: the policy language's word, and nobody awaits a statement
  policies: { all: { statements: [{ then: 'accept' }] } },
  neighbors: sessions.map((session) => ({
    asn: THEIR_ASN,
    families: families(),
    timers: { connectRetry: 1, idleHold: 0.3 },
    ...session,
  })),
});

/** Ours and one of theirs, on a link with addresses and one without. */
class Pair implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly directory: string;
  readonly left: Namespace;
  readonly right: Namespace;
  readonly ours: OurRouter;

  constructor(sessions: readonly Session[]) {
    this.directory = mkdtempSync(join(tmpdir(), `causeway-interop-${process.pid}-`));
    this.#stack.defer(() => rmSync(this.directory, { recursive: true, force: true }));
    this.left = this.#stack.use(new Namespace('l'));
    this.right = this.#stack.use(new Namespace('r'));
    cable(
      { namespace: this.left, device: 'eth0', addresses: ['10.91.0.1/24', 'fd91::1/64'] },
      { namespace: this.right, device: 'eth0', addresses: ['10.91.0.2/24', 'fd91::2/64'] },
    );
    cable(
      { namespace: this.left, device: 'bare0', addresses: [] },
      { namespace: this.right, device: 'bare1', addresses: [] },
    );
    this.ours = this.#stack.use(
      new OurRouter({
        name: 'ours',
        namespace: this.left,
        directory: join(this.directory, 'ours'),
        config: speakerConfig(sessions),
      }),
    );
  }

  async start(): Promise<void> {
    await this.ours.start();
    await this.ours.client.ask(
      'PUT',
      '/v1/paths/test',
      OURS.map((prefix) => ({ prefix })),
    );
  }

  use<T extends AsyncDisposable>(thing: T): T {
    return this.#stack.use(thing);
  }

  async peer(name: string): Promise<PeerView> {
    return (await this.ours.client.ask('GET', `/v1/peers/${name}`)) as PeerView;
  }

  up(name: string): Promise<PeerView> {
    return eventually(
      `session ${name} is up`,
      async () => {
        const peer = await this.peer(name);
        return peer.state === 'established' ? peer : undefined;
      },
      PATIENCE_MS,
      async () => JSON.stringify(await this.peer(name)),
    );
  }

  /** Waits until each of their routes, as ours has it from the session, is as asked. */
  async received(name: string, holds: (route: RouteView) => boolean): Promise<void> {
    const routes = async () =>
      (
        (await this.ours.client.ask('GET', `/v1/routes?view=received&peer=${name}`)) as {
          rows: RouteView[];
        }
      ).rows;
    await eventually(
      `their routes by session ${name}`,
      async () => {
        const rows = await routes();
        const found = THEIRS.map((prefix) => rows.find((row) => row.prefix === prefix));
        return found.every((row) => row !== undefined && holds(row)) || undefined;
      },
      PATIENCE_MS,
      async () => JSON.stringify(await routes()),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

const LONG_LIVED = {
  name: 'long',
  peer: { address: '10.91.0.2' },
  localAddress: '10.91.0.1',
  gracefulRestart: { restartTime: 1 },
  families: families({ llgr: 600 }),
} as const;

describe('with BIRD', () => {
  let pair: Pair;
  let bird: RunningRouter;
  const config = (keyed: string) =>
    [
      'router id 10.91.0.2;',
      'log stderr { warning, error, fatal, bug };',
      // It waits for sessions that never come, else.
      'graceful restart wait 3;',
      'protocol device {}',
      'protocol direct { ipv4; ipv6; }',
      `protocol static { ipv4; route ${THEIRS[0]} blackhole; }`,
      `protocol static { ipv6; route ${THEIRS[1]} blackhole; }`,
      'protocol radv { interface "bare1" { max ra interval 4; min ra interval 3; }; }',
      'template bgp any {',
      `  local as ${THEIR_ASN};`,
      '  connect delay time 1; error wait time 1, 2; connect retry time 2;',
      '  ipv4 { import all; export where source = RTS_STATIC; next hop self; };',
      '  ipv6 { import all; export where source = RTS_STATIC; next hop self; };',
      '}',
      'protocol bgp lasting from any {',
      `  neighbor 10.91.0.1 as ${OUR_ASN}; local 10.91.0.2; `,
      '  graceful restart on; graceful restart time 1;',
      '  long lived graceful restart on; long lived stale time 600;',
      '}',
      'protocol bgp bare from any {',
      `  interface "bare1"; neighbor range fe80::/10 as ${OUR_ASN}; dynamic name "bare_";`,
      '  ipv4 { extended next hop on; };',
      '}',
      `protocol bgp secret from any { neighbor fd91::1 as ${OUR_ASN}; local fd91::2; passive; password "${keyed}"; }`,
      '',
    ].join('\n');
  const open = (flags: readonly string[] = []) =>
    startBird({
      namespace: pair.right,
      directory: join(pair.directory, 'bird'),
      config: config('their key'),
      flags,
    });
  const ourRoutes = (protocol: string, holds: (text: string) => boolean) =>
    eventually(
      `our routes by ${protocol} at BIRD`,
      async () => {
        const texts = await Promise.all(
          OURS.map((prefix) =>
            bird.ask(`show route ${prefix} all protocol ${protocol}`).catch(() => ''),
          ),
        );
        return texts.every((text) => text.includes('BGP.as_path') && holds(text)) || undefined;
      },
      PATIENCE_MS,
      () => bird.ask('show route all'),
    );

  before(async () => {
    pair = new Pair([
      LONG_LIVED,
      { name: 'bare', peer: { interface: 'bare0' }, asn: 'external', extendedNextHop: true },
      {
        name: 'keyed',
        peer: { address: 'fd91::2' },
        localAddress: 'fd91::1',
        password: 'our key',
      },
    ]);
    await pair.start();
    bird = await open();
  });
  after(async () => {
    await bird?.[Symbol.asyncDispose]();
    await pair?.[Symbol.asyncDispose]();
  });

  test('a link without addresses: it advertises itself as a router, and is found', async () => {
    const { address } = await pair.up('bare');
    assert.match(address ?? '', /^fe80::/);
    await pair.received('bare', ({ nextHop }) => /^fe80::/.test(nextHop ?? ''));
  });

  test('keys that differ let no session come up; the right key does', async () => {
    // The other sessions of the same two come up meanwhile: it is the key.
    await pair.up('long');
    const refused = await pair.peer('keyed');
    assert.notEqual(refused.state, 'established');
    assert.equal(refused.ups, 0);
    await bird.reload(config('our key'));
    assert.equal((await pair.up('keyed')).ups, 1);
  });

  test('its routes outlive its restart time as long-lived stale ones, and are fresh when it is back', async () => {
    await pair.up('long');
    await pair.received('long', ({ stale }) => stale === undefined);
    await bird.processes[0]!.stop('SIGKILL');
    await pair.received('long', ({ stale }) => stale === 'long-lived');
    const { restart } = await pair.peer('long');
    assert.equal(restart?.phase, 'llgr');
    bird = await open(['-R']);
    await pair.up('long');
    await pair.received('long', ({ stale }) => stale === undefined);
  });

  test('it keeps ours as long-lived stale ones while we are away, and has them fresh when we are back', async () => {
    await pair.up('long');
    await ourRoutes('lasting', (text) => !text.includes('(65535,6)'));
    await pair.ours.process.stop('SIGKILL');
    await ourRoutes('lasting', (text) => text.includes('(65535,6)'));
    await pair.start();
    await pair.up('long');
    await ourRoutes('lasting', (text) => !text.includes('(65535,6)'));
  });
});

describe('with FRR', () => {
  let pair: Pair;
  let frr: RunningRouter;
  const config = [
    'route-map any permit 10',
    'exit',
    `router bgp ${THEIR_ASN}`,
    ' bgp router-id 10.91.0.2',
    ' no bgp ebgp-requires-policy',
    ' no bgp network import-check',
    ' no bgp default ipv4-unicast',
    ' bgp graceful-restart',
    ' bgp graceful-restart restart-time 1',
    ' bgp long-lived-graceful-restart stale-time 600',
    ` neighbor 10.91.0.1 remote-as ${OUR_ASN}`,
    ' neighbor 10.91.0.1 timers connect 1',
    ' neighbor bare1 interface remote-as external',
    ' neighbor bare1 timers connect 1',
    ...['ipv4', 'ipv6'].flatMap((family, at) => [
      ` address-family ${family} unicast`,
      `  network ${THEIRS[at]}`,
      '  neighbor 10.91.0.1 activate',
      '  neighbor bare1 activate',
      ' exit-address-family',
    ]),
    'exit',
    '',
  ].join('\n');
  const open = () =>
    startFrr({
      namespace: pair.right,
      directory: join(pair.directory, 'frr'),
      config,
      zebra: true,
    });
  const ourRoute = (holds: (text: string) => boolean) =>
    eventually(
      'our route by the long-lived session at FRR',
      async () => {
        const text = await frr.ask(`show bgp ipv4 unicast ${OURS[0]} json`);
        const { paths = [] } = JSON.parse(text) as {
          paths?: { peer?: { peerId: string } }[];
        };
        const own = paths.find((path) => path.peer?.peerId === '10.91.0.1');
        return (own !== undefined && holds(JSON.stringify(own))) || undefined;
      },
      PATIENCE_MS,
      () => frr.ask(`show bgp ipv4 unicast ${OURS[0]} json`),
    );

  before(async () => {
    pair = new Pair([
      LONG_LIVED,
      { name: 'bare', peer: { interface: 'bare0' }, asn: 'external', extendedNextHop: true },
    ]);
    await pair.start();
    frr = await open();
  });
  after(async () => {
    await frr?.[Symbol.asyncDispose]();
    await pair?.[Symbol.asyncDispose]();
  });

  test('a link without addresses: both find each other, and IPv4 goes by IPv6 next hops', async () => {
    const { address, negotiated } = await pair.up('bare');
    assert.match(address ?? '', /^fe80::/);
    assert.equal(negotiated?.peerAsn, THEIR_ASN);
    await pair.received('bare', ({ nextHop }) => /^fe80::/.test(nextHop ?? ''));
  });

  test('its routes outlive its restart time as long-lived stale ones', async () => {
    await pair.up('long');
    await pair.received('long', ({ stale }) => stale === undefined);
    await frr.processes[0]!.stop('SIGKILL');
    await pair.received('long', ({ stale }) => stale === 'long-lived');
    await frr[Symbol.asyncDispose]();
    frr = await open();
    await pair.up('long');
    await pair.received('long', ({ stale }) => stale === undefined);
  });

  test('it keeps ours as long-lived stale ones while we are away', async () => {
    await pair.up('long');
    await ourRoute((text) => !text.includes('llgr-stale'));
    await pair.ours.process.stop('SIGKILL');
    await ourRoute((text) => text.includes('llgr-stale'));
    await pair.start();
    await pair.up('long');
    await ourRoute((text) => !text.includes('llgr-stale'));
  });
});
