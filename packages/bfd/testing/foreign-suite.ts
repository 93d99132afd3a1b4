import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import { Bfd, type BfdEvent, type SessionRow, type SessionSpec } from '../index.ts';
import { Micros } from '../src/values.ts';
import type { ForeignBfd, ForeignSession } from './routers.ts';
import { eventually, far, Site, theirs } from './site.ts';

/** A foreign implementation, configured in its own words. */
export interface Foreign {
  readonly name: string;
  /** Less than what its multihop packets come with over one router. */
  readonly minTtl: number;
  start(site: Site, config: string): Promise<ForeignBfd>;
  /** All five sessions with us at these timers; `interval` in milliseconds. */
  config(interval: number, multiplier: number): string;
  /** Whether it tells its peers AdminDown, or falls silent. */
  readonly saysAdminDown: boolean;
  /** Takes its sessions down on purpose, and up again. */
  disable(daemon: ForeignBfd): Promise<void>;
  enable(daemon: ForeignBfd): Promise<void>;
}

/** Single hop in both families, by link-local addresses, and over a router in both families. */
function allSessions(
  interval: number,
  minTtl: number,
  change: Partial<SessionSpec> = {},
): SessionSpec[] {
  const timers = {
    desiredMinTx: Micros.fromMillis(interval),
    requiredMinRx: Micros.fromMillis(interval),
    multiplier: 3,
    ...change,
  };
  const single = [
    { remote: theirs.ipv4 },
    { remote: theirs.ipv6 },
    { remote: theirs.linkLocal, interface: 'e0' },
  ];
  return [
    ...single.map((each) => ({
      ...each,
      remote: Address.parse(each.remote),
      hops: 'single' as const,
      ...timers,
    })),
    ...(['ipv4', 'ipv6'] as const).map((family) => ({
      remote: Address.parse(far.theirs[family]),
      local: Address.parse(far.ours[family]),
      hops: 'multi' as const,
      minTtl,
      ...timers,
    })),
  ];
}

const count = 5;
const text = (value: unknown) => JSON.stringify(value, null, 1);

/** What every implementation must do with ours, over real sockets; one start of each daemon for all of it. */
export function foreignSuite(foreign: Foreign): void {
  test(`${foreign.name}: up from either side, cuts, timers, AdminDown; both families, one hop and more`, async (t) => {
    using site = new Site();
    const events: BfdEvent[] = [];
    const startOurs = () =>
      Bfd.start({ netns: site.ourPath, onEvent: (event) => events.push(event) });
    let bfd = await startOurs();
    let them: ForeignBfd | undefined;
    let failed = false;
    /** Each step stands on those before it. */
    const step = (what: string, run: () => Promise<void>) =>
      t.test(what, { skip: failed && 'a step before it failed' }, async () => {
        failed = true;
        await run();
        failed = false;
      });
    const rows = () => bfd.sessions();
    const said = async () => text([await rows(), await them?.sessions()]) + them?.log();
    const both = (
      what: string,
      mine: (row: SessionRow) => boolean,
      its: (s: ForeignSession) => boolean,
      ms = 30_000,
    ) =>
      eventually(
        what,
        async () => {
          const [a, b] = [await rows(), (await them?.sessions()) ?? []];
          return (
            (a.length === count && a.every(mine) && b.length === count && b.every(its)) || undefined
          );
        },
        ms,
        said,
      );
    const up = (interval: number) =>
      both(
        `all up at ${interval} ms`,
        (row) =>
          row.state === 'up' &&
          !row.polling &&
          row.intervals.transmit === interval &&
          row.detectionTime === 3 * interval,
        (session) => session.state === 'up' && session.interval === interval,
      );
    const flaps = async () => (await rows()).reduce((sum, row) => sum + row.flaps, 0);
    try {
      await step('we are there first, and come up when it does', async () => {
        await bfd.configure(allSessions(300, foreign.minTtl));
        await new Promise((resolve) => setTimeout(resolve, 300));
        assert.ok(
          (await rows()).every(({ state, signal }) => state === 'down' && signal === 'unknown'),
        );
        them = await foreign.start(site, foreign.config(300, 3));
        await up(300);
      });

      const cut = (interval: number) => async () => {
        await up(interval);
        // The last packet may have come just now: the whole detection time is ahead then.
        const before = Date.now();
        site.cut();
        // The router is cut by another program, which has to be started.
        const bound = 3 * interval + 20 + (Date.now() - before);
        const itsEnd = eventually(
          'the peer notices the cut',
          async () => {
            const sessions = (await them?.sessions()) ?? [];
            return sessions.every(({ state }) => state === 'down') ? Date.now() : undefined;
          },
          30_000,
          said,
        );
        await both(
          'both notice',
          ({ state }) => state === 'down',
          ({ state }) => state === 'down',
        );
        for (const row of await rows()) {
          assert.equal(row.lastDown?.reason, 'detection-expired', text(row));
          assert.equal(row.signal, 'failed');
          assert.equal(row.diagnostic, 'detection-time-expired');
          const after = Date.parse(row.lastDown.at) - before;
          assert.ok(after <= bound, `${row.key} fell ${after} ms after the cut`);
        }
        const after = (await itsEnd) - before;
        // It is asked by a program that has to be started each time.
        assert.ok(after <= bound + 1000, `the peer noticed after ${after} ms`);
        t.diagnostic(
          `${foreign.name} at ${interval} ms x 3: noticed a cut after ${after} ms, asked from outside`,
        );
        site.mend();
        await up(interval);
      };
      await step('a cut at 300 ms x 3 is noticed by both in less than a second', cut(300));

      await step(
        'timers change while up, from our side and from its, and nothing falls',
        async () => {
          const before = await flaps();
          await bfd.configure(allSessions(200, foreign.minTtl));
          await eventually(
            'it hears of our timers',
            async () =>
              (await rows()).every(
                ({ polling, intervals, detectionTime }) =>
                  !polling && intervals.transmit === 300 && detectionTime === 900,
              ) || undefined,
            30_000,
            said,
          );
          await them?.reload(foreign.config(50, 3));
          await bfd.configure(allSessions(50, foreign.minTtl));
          await up(50);
          assert.equal(await flaps(), before);
        },
      );

      await step('a cut at 50 ms x 3 is noticed by both', cut(50));

      await step('we hold the sessions down: it sees no packet of ours that says Up', async () => {
        await bfd.configure(allSessions(50, foreign.minTtl, { adminDown: true }));
        await both(
          'down on purpose',
          ({ state, signal }) => state === 'admin-down' && signal === 'administrative',
          ({ state }) => state === 'down',
        );
        await bfd.configure(allSessions(50, foreign.minTtl));
        await up(50);
      });

      await step('it takes the sessions down: no fault of the path if it says so', async () => {
        await foreign.disable(them!);
        await eventually(
          'it is understood as what it is',
          async () =>
            (await rows()).every(
              ({ state, signal, lastDown }) =>
                state === 'down' &&
                (foreign.saysAdminDown
                  ? signal === 'administrative' && lastDown?.reason === 'neighbor-admin-down'
                  : signal === 'failed' && lastDown?.reason === 'detection-expired'),
            ) || undefined,
          30_000,
          said,
        );
        await foreign.enable(them!);
        await up(50);
      });

      await step('we end and begin again: new discriminators, and it comes back', async () => {
        const before = new Set((await rows()).map(({ discriminator }) => discriminator));
        await bfd.stop();
        await eventually(
          'it hears that we end',
          async () => (await them?.sessions())?.every(({ state }) => state === 'down') || undefined,
          30_000,
        );
        bfd = await startOurs();
        await bfd.configure(allSessions(50, foreign.minTtl));
        await up(50);
        assert.ok((await rows()).every(({ discriminator }) => !before.has(discriminator)));
      });

      await step(
        'it ends and begins again, and we come back; what we sent was all good',
        async () => {
          await them?.[Symbol.asyncDispose]();
          const before = Date.now();
          await eventually(
            'we notice',
            async () => (await rows()).every(({ state }) => state === 'down') || undefined,
          );
          for (const { lastDown } of await rows())
            assert.ok(Date.parse(lastDown!.at) - before <= 250, text(lastDown));
          them = await foreign.start(site, foreign.config(50, 3));
          await up(50);
          const { loop, discarded } = await bfd.status();
          assert.equal(loop.faults, 0, loop.lastFault ?? '');
          for (const [reason, n] of Object.entries(discarded))
            if (!reason.startsWith('unknown-')) assert.equal(n, 0, `${n} packets were ${reason}`);
        },
      );
    } finally {
      await bfd.stop();
      await them?.[Symbol.asyncDispose]();
    }
  });
}
