import type { Command } from 'commander';
import { runs } from './invocation.ts';

const load = () => import('../commands/inventory.ts');

/** Machines outside every cluster: the program that makes them endpoints of the mesh, and questions to it. */
export function addInventory(program: Command): void {
  const inventory = program
    .command('inventory')
    .description('machines outside every cluster as endpoints of the mesh');
  runs(
    inventory
      .command('run')
      .description('run an instance until it is told to end; of two, one leads')
      .requiredOption(
        '--config <file>',
        'its configuration; packages/inventory/README.md says what it may hold',
      ),
    async () => (await load()).inventoryRun,
  );
  runs(
    inventory
      .command('diff')
      .description(
        'what a run would change in the store: asks all sources, writes nothing; exit status 1 if one does not answer',
      )
      .requiredOption('--config <file>', 'the configuration to try')
      .option('--wait <seconds>', 'for the slowest source', '60'),
    async () => (await load()).inventoryDiff,
  );
  const ask = (name: string, description: string) =>
    inventory
      .command(name)
      .description(description)
      .option(
        '--socket <path>',
        "the instance's API (default: that of --context lab:..., else /run/causeway/inventory.sock)",
      );
  runs(
    ask('status', 'who leads, what stands in the store, how each source does and what waits'),
    async () => (await load()).inventoryStatus,
  );
  runs(
    ask('list', 'the endpoints, with source, labels and identity')
      .option('--source <name>', 'of one source')
      .option('-l, --label <key=value>', 'only those with this label')
      .option('--limit <count>', 'rows at most', '1000'),
    async () => (await load()).inventoryList,
  );
  runs(
    ask('conflicts', 'addresses that more than one claims, and who has them'),
    async () => (await load()).inventoryConflicts,
  );
  runs(
    ask('why', 'whose an address is, who claims it too, and what readers find').argument(
      '<address>',
    ),
    async () => (await load()).inventoryWhy,
  );
  runs(
    ask('accept', 'let a removal through that the guard keeps back').argument('<source>'),
    async () => (await load()).inventoryAccept,
  );
}
