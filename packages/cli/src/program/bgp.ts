import { type Command, Option } from 'commander';
import { runs } from './invocation.ts';

const load = () => import('../commands/bgp.ts');
const routes = () => import('../commands/bgp-routes.ts');

const EXAMPLES = `
Examples:
  causeway bgp peers                            every node's neighbours, and why a session is down
  causeway bgp peers tor-1 --node n1            one neighbour whole: capabilities, timers, policies
  causeway bgp routes 10.40.0.0/16 --longer     what is chosen inside a prefix
  causeway bgp routes 10.40.3.7                 the route that serves an address
  causeway bgp announcements --refused          what nodes do not announce, and why not
  causeway bgp advertised tor-1                 what the neighbour was sent; nothing while it is down
  causeway bgp why 10.40.3.0/24                 each path, the step at which it lost, whom it goes to, the kernel
  causeway bgp reset tor-1 --how soft-out       evaluate the export policy again, the session stays
  causeway bgp policy test to-tor 10.40.3.0/24 --community 65000:1
  causeway bgp events --peer tor-1              what happens, as it happens
`;

/** `causeway speaker`: the program. */
export function addSpeaker(program: Command): void {
  runs(
    program
      .command('speaker')
      .description('run the BGP speaker until it is told to end')
      .option(
        '--config <file>',
        'its configuration; packages/speaker/README.md says what it may hold',
      )
      .addOption(
        new Option(
          '--drain [text]',
          'tell the one that runs to end for good: neighbours hear the text and drop our routes at once',
        ),
      )
      .option('--socket <path>', 'with --drain: the socket of the one that runs'),
    async () => (await load()).speaker,
  );
}

/** Questions to the speakers of the context's nodes, or to one behind a socket. */
export function addBgp(program: Command): void {
  const bgp = program
    .command('bgp')
    .description('what the BGP speakers know: neighbours, routes, and why')
    .addHelpText('after', EXAMPLES);
  const ask = (parent: Command, name: string, description: string) =>
    parent
      .command(name)
      .description(description)
      .option('--socket <path>', 'ask the speaker behind this socket, whatever the context');
  const prefixOptions = (command: Command) =>
    command
      .addOption(
        new Option('--family <family>', 'one family only').choices([
          'ipv4-unicast',
          'ipv6-unicast',
        ]),
      )
      .option('--longer', 'with a prefix: also what is inside it')
      .option('--limit <rows>', 'rows of each node at most', '1000');

  runs(
    ask(bgp, 'status', 'how the speakers are doing: sessions, tables, kernel, BFD, stations'),
    async () => (await load()).bgpStatus,
  );
  runs(
    ask(bgp, 'peers', 'neighbours and their sessions; with a name, one of them whole').argument(
      '[name]',
    ),
    async () => (await load()).bgpPeers,
  );
  runs(
    prefixOptions(
      ask(
        bgp,
        'routes',
        'the paths that are chosen; an address finds the route that serves it',
      ).argument('[prefix]'),
    ),
    async () => (await routes()).bgpRoutes,
  );
  runs(
    bgp
      .command('announcements')
      .description('what nodes are to announce, by which objects, and why not; from their agents')
      .argument('[prefix]')
      .option('--refused', 'only what is not announced'),
    async () => (await import('../commands/bgp-announcements.ts')).bgpAnnouncements,
  );
  runs(
    prefixOptions(
      ask(bgp, 'received', 'what a neighbour sent, and what policy refused of it')
        .argument('<peer>')
        .argument('[prefix]'),
    ),
    async () => (await routes()).bgpReceived,
  );
  runs(
    prefixOptions(
      ask(bgp, 'advertised', 'what a neighbour was sent').argument('<peer>').argument('[prefix]'),
    ),
    async () => (await routes()).bgpAdvertised,
  );
  runs(
    ask(
      bgp,
      'why',
      'everything about one prefix: each path and why it lost, who gets it, the kernel',
    )
      .argument('<prefix>', 'a prefix, or an address')
      .option('--peer <name>', 'only what concerns this neighbour'),
    async () => (await routes()).bgpWhy,
  );
  runs(
    ask(bgp, 'events', 'how the speakers stand, then what happens, until interrupted')
      .option('--peer <name>', 'of one neighbour')
      .option('--type <types>', 'peer-up, peer-down, max-prefix, ... several with commas'),
    async () => (await load()).bgpEvents,
  );
  runs(
    ask(bgp, 'reset', 'start a session anew, or evaluate policy again without touching it')
      .argument('<peer>')
      .addOption(
        new Option(
          '--how <how>',
          'hard: new session; soft-in, soft-out: policy again; refresh: ask for its routes again',
        )
          .choices(['hard', 'soft-in', 'soft-out', 'refresh'])
          .default('hard'),
      )
      .option('--text <text>', 'with hard: what the neighbour is told'),
    async () => (await load()).bgpReset,
  );
  runs(
    ask(bgp, 'config', 'what the owners want of the speakers, without secrets').argument(
      '[owner]',
      'agent, file, or another; absent: the list of them',
    ),
    async () => (await load()).bgpConfig,
  );
  const policy = bgp.command('policy').description('try a routing policy');
  runs(
    ask(
      policy,
      'test',
      'what a policy makes of a route, and which statement decided; exit status 1 if refused',
    )
      .argument('<policy>')
      .argument('<prefix>')
      .option('--peer <name>', 'the neighbour that it comes from or goes to')
      .option('--as-path <numbers>', 'as in "65001 65002"')
      .option('--community <values...>', 'standard communities')
      .option('--large-community <values...>', 'large communities')
      .option('--extended-community <values...>', 'extended communities')
      .option('--next-hop <address>', 'next hop')
      .option('--med <number>', 'metric')
      .option('--local-preference <number>', 'local preference')
      .addOption(new Option('--origin <origin>', 'origin').choices(['igp', 'egp', 'incomplete']))
      .option('--tag <text>', 'the tag of an originated path'),
    async () => (await routes()).bgpPolicyTest,
  );
}
