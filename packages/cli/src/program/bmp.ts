import type { Command } from 'commander';
import { runs } from './invocation.ts';

const load = () => import('../commands/bmp.ts');

/** `causeway bmp` is the station itself; below it stand the questions to one that runs. */
export function addBmp(program: Command): void {
  const bmp = program
    .command('bmp')
    .description("run a BMP station, which takes routers' feeds; or ask one that runs")
    .option(
      '--config <file>',
      'its configuration; packages/bmp-station/README.md says what it may hold',
    );
  runs(bmp, async () => (await load()).bmpStation);
  const ask = (name: string, description: string) =>
    bmp
      .command(name)
      .description(description)
      .option('--socket <path>', "the station's API", '/run/causeway/bmp.sock');
  runs(
    ask('status', 'how the station is doing: routers, routes, memory, history'),
    async () => (await load()).bmpStatus,
  );
  runs(
    ask('routers', 'who feeds the station, and who did').option(
      '--since <time>',
      'also those last heard of since then, such as 7d',
    ),
    async () => (await load()).bmpRouters,
  );
  runs(
    ask('peers', "the routers' sessions: state, routes, why they fell")
      .option('--router <name>', 'of one router')
      .option('--state <up|down>', 'only those'),
    async () => (await load()).bmpPeers,
  );
  runs(
    ask('routes', 'routes as the routers tell them')
      .argument('[prefix]', 'only this one')
      .option('--router <name>', 'of one router')
      .option('--peer <address>', 'from one peer')
      .option('--view <view>', 'in-pre, in-post, out-pre, out-post or loc')
      .option('--family <family>', 'ipv4-unicast or ipv6-unicast')
      .option('--longer', 'with a prefix: also what is inside it')
      .option('--limit <count>', 'rows at most', '1000'),
    async () => (await load()).bmpRoutes,
  );
  runs(
    ask('events', 'what happened, the newest last')
      .option('--follow', 'and what happens from now on')
      .option('--router <name>', 'of one router')
      .option('--peer <address>', 'of one peer')
      .option('--type <types>', 'such as peer-down,peer-up')
      .option('--since <time>', 'such as 2h, or 2026-01-31T12:00:00Z')
      .option('--limit <count>', 'rows at most', '200'),
    async () => (await load()).bmpEvents,
  );
  runs(
    ask('faults', 'what went wrong, who is suspected, what was lost')
      .argument('[id]', 'one of them, with everything that is known')
      .option('--state <state>', 'gathering, open or recovered')
      .option('--since <time>', 'such as 2h')
      .option('--limit <count>', 'rows at most', '50'),
    async () => (await load()).bmpFaults,
  );
  runs(
    ask('why', 'everything about one prefix: who has it, who lost it, when and why')
      .argument('<prefix>')
      .option('--since <time>', 'how far to look back', '7d'),
    async () => (await load()).bmpWhy,
  );
}
