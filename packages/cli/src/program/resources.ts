import type { Command } from 'commander';
import { runs } from './invocation.ts';

const objects = () => import('../commands/objects.ts');
const KINDS = 'a kind as in Kubernetes: pods, po, Pod, svc, netpol, cnp, ccnp, ciliumnodes ...';

export function addResources(program: Command): void {
  runs(
    program
      .command('get')
      .description('list objects of a kind, or show one')
      .argument('<kind>', KINDS)
      .argument('[name]', 'one object')
      .option('-n, --namespace <name>', 'namespace', 'default')
      .option('-A, --all-namespaces', 'all namespaces')
      .option(
        '-l, --selector <text>',
        'only objects with these labels: app=web,tier!=test, "env in (a,b)", !gone',
      )
      .option('-o, --output <form>', 'yaml, json or wide')
      .option('--show-secrets', 'values of Secrets as they are stored, not only their sizes'),
    async () => (await objects()).get,
  );
  runs(
    program
      .command('describe')
      .description('one object whole, with what the agents make of it')
      .argument('<kind>', KINDS)
      .argument('<name>')
      .option('-n, --namespace <name>', 'namespace', 'default'),
    async () => (await import('../commands/describe.ts')).describe,
  );
  runs(
    program
      .command('apply')
      .description('create or change objects; everything is validated before anything is written')
      .requiredOption('-f, --filename <path...>', 'file, directory, or - for standard input')
      .option('-n, --namespace <name>', 'for objects that name none', 'default')
      .option('--dry-run', 'say what would happen and write nothing'),
    async () => (await objects()).apply,
  );
  runs(
    program
      .command('delete')
      .description('delete objects, by kind and names or by manifest')
      .argument('[kind]', KINDS)
      .argument('[names...]')
      .option('-f, --filename <path...>', 'delete what these manifests name')
      .option('-n, --namespace <name>', 'namespace', 'default')
      .option('--ignore-not-found', 'what is gone already is no error'),
    async () => (await objects()).remove,
  );
}
