import type { Command } from 'commander';
import { addBfd } from './bfd.ts';
import { addSpeaker } from './bgp.ts';
import { addBmp } from './bmp.ts';
import { addInventory } from './inventory.ts';
import { runs } from './invocation.ts';

const contexts = () => import('../commands/contexts.ts');

export function addPrograms(program: Command): void {
  runs(
    program
      .command('agent')
      .description("run a node's agent until it is told to end")
      .requiredOption(
        '--config <file>',
        'its configuration; packages/agent/README.md says what it may hold',
      )
      .option('--cleanup', 'take everything of Causeway off this node, pods included, and end'),
    async () => (await import('../commands/programs.ts')).agent,
  );
  runs(
    program
      .command('operator')
      .description('run an operator: of two or three, one leads and plans addresses')
      .option(
        '--config <file>',
        'its configuration; packages/operator/README.md says what it may hold',
      ),
    async () => (await import('../commands/programs.ts')).operator,
  );
  addSpeaker(program);
  addBfd(program);
  addBmp(program);
  addInventory(program);
  runs(
    program.command('cni').description('the CNI plugin, called by a container runtime'),
    async () => (await import('../commands/programs.ts')).cni,
  );
  const context = program.command('context').description('named clusters to work against');
  runs(context.command('list').description('all contexts'), async () => (await contexts()).list);
  runs(
    context.command('use').description('make one the default').argument('<name>'),
    async () => (await contexts()).use,
  );
}
