import type { Command } from 'commander';
import { runs } from './invocation.ts';

const load = () => import('../commands/bfd.ts');

/** `causeway bfd` is the daemon itself; below it stand the questions to one that runs. */
export function addBfd(program: Command): void {
  const bfd = program
    .command('bfd')
    .description("run a node's BFD daemon until it is told to end; or ask those that run")
    .option(
      '--config <file>',
      'its configuration; packages/bfd-daemon/README.md says what it may hold',
    );
  runs(bfd, async () => (await load()).bfdDaemon);
  const ask = (name: string, description: string) =>
    bfd
      .command(name)
      .description(description)
      .option('--socket <path>', 'ask the daemon behind this socket, whatever the context');
  runs(
    ask('sessions', 'all sessions: state, intervals, why they fell'),
    async () => (await load()).bfdSessions,
  );
  runs(
    ask('events', 'how all sessions stand, then each change as it comes'),
    async () => (await load()).bfdEvents,
  );
  runs(
    ask('status', 'how the daemons are doing: priority, lateness, discarded packets'),
    async () => (await load()).bfdStatus,
  );
}
