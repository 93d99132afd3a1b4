import type { Command } from 'commander';
import { runs } from './invocation.ts';

const commands = () => import('../commands/lab.ts');
const faults = () => import('../commands/lab-faults.ts');

const PLACE =
  'a router, rack, node, outside host, CLUSTER/etcd, CLUSTER/operator-N, CLUSTER/inventory-N or CLUSTER/NAMESPACE/POD';

export function addLab(program: Command): void {
  const lab = program
    .command('lab')
    .description('whole sites on this machine, in network namespaces');
  lab.commandsGroup('Up and down:');
  runs(
    lab
      .command('up')
      .description('build a lab; returns when every table in it is reconciled')
      .argument('<lab>', 'a shipped lab by name, or a lab file by path')
      .option('--name <name>', "another name than the file's")
      .option('--keep-on-failure', 'leave what was built when something fails'),
    async () => (await commands()).up,
  );
  runs(
    lab
      .command('down')
      .description('remove a lab and all it left, also half-built')
      .argument('<name>')
      .option('--force', 'also while it is being built'),
    async () => (await commands()).down,
  );
  runs(lab.command('ls').description('labs on this machine'), async () => (await commands()).list);
  lab.commandsGroup('Looking around:');
  runs(
    lab.command('places').description('where commands can be run').argument('<name>'),
    async () => (await commands()).places,
  );
  runs(
    lab
      .command('exec')
      .description('run a command in a place; its exit status is ours')
      .argument('<place>', `NAME/PLACE, where PLACE is ${PLACE}`)
      .argument('<command...>', 'after --'),
    async () => (await commands()).exec,
  );
  runs(
    lab
      .command('logs')
      .description("the log of a node's program, a router's daemon or a store")
      .argument(
        '<place>',
        'NAME/NODE, NAME/ROUTER, NAME/CLUSTER/etcd, NAME/CLUSTER/operator-N or NAME/CLUSTER/inventory-N',
      )
      .option('--program <name>', 'agent, speaker or bfd; a daemon of the router'),
    async () => (await commands()).logs,
  );
  runs(
    lab
      .command('status')
      .description('what runs where, and every BGP session as both of its ends see it')
      .argument('<name>'),
    async () => (await import('../commands/lab-status.ts')).status,
  );
  lab.commandsGroup('Changing things:');
  runs(
    lab
      .command('run')
      .description('start one more pod')
      .argument('<pod>', 'NAME/CLUSTER/NAMESPACE/POD')
      .option('--on <node>', "its node; the cluster's first if left out")
      .option('-l, --labels <text>', 'app=web,tier=front')
      .option(
        '--serve <type:port...>',
        'servers that answer with its name: http:80 tcp:7 udp:7 http:8080:web',
      )
      .option('--runtime <runtime>', 'netns or containerd', 'netns'),
    async () => (await import('../commands/lab-run.ts')).run,
  );
  lab.commandsGroup('Breaking things:');
  runs(
    lab
      .command('agent')
      .description("a node's agent: start, stop (SIGTERM), kill (SIGKILL), restart, pause, resume")
      .argument('<node>', 'NAME/NODE')
      .argument('<verb>'),
    async () => (await faults()).agent,
  );
  runs(
    lab
      .command('speaker')
      .description("a node's BGP speaker: the same verbs")
      .argument('<node>', 'NAME/NODE')
      .argument('<verb>'),
    async () => (await faults()).speaker,
  );
  runs(
    lab
      .command('bfd')
      .description("a node's BFD daemon: the same verbs")
      .argument('<node>', 'NAME/NODE')
      .argument('<verb>'),
    async () => (await faults()).bfd,
  );
  runs(
    lab
      .command('operator')
      .description('an instance of the operator: the same verbs')
      .argument('<operator>', 'NAME/CLUSTER/operator-N')
      .argument('<verb>'),
    async () => (await faults()).operator,
  );
  runs(
    lab
      .command('inventory')
      .description('an instance of the inventory: the same verbs')
      .argument('<inventory>', 'NAME/CLUSTER/inventory-N')
      .argument('<verb>'),
    async () => (await faults()).inventory,
  );
  runs(
    lab
      .command('partition')
      .description('let nothing through between two clusters (cut), or all again (mend)')
      .argument('<cluster>', 'NAME/CLUSTER')
      .argument('<verb>')
      .argument('[other]', 'another cluster of the lab; all others if left out')
      .option('--way <way>', 'what goes to the other, what comes from it, or both', 'both'),
    async () => (await faults()).partition,
  );
  runs(
    lab
      .command('router')
      .description(
        "a router's daemons: start, stop, kill; its cables: cut, heal; its power: off, on",
      )
      .argument('<router>', 'NAME/ROUTER')
      .argument('<verb>'),
    async () => (await faults()).router,
  );
  runs(
    lab
      .command('freeze')
      .description('cut a machine off in silence: nothing comes any more, no carrier goes')
      .argument('<place>', 'NAME/PLACE'),
    async () => (await faults()).freeze,
  );
  runs(
    lab.command('thaw').description('join it again').argument('<place>', 'NAME/PLACE'),
    async () => (await faults()).thaw,
  );
  runs(
    lab
      .command('etcd')
      .description(
        "a cluster's store: start, stop, kill, wipe, snapshot, restore (the last one), pause, resume, partition, heal, slow, unslow",
      )
      .argument('<cluster>', 'NAME/CLUSTER')
      .argument('<verb>'),
    async () => (await faults()).etcd,
  );
  runs(
    lab
      .command('cable')
      .description("pull a place's cable (down) or put it back (up)")
      .argument('<place>', 'NAME/PLACE')
      .argument('<verb>')
      .option('--device <name>', 'the device at its end', 'eth0'),
    async () => (await faults()).cable,
  );
  runs(
    lab
      .command('pod')
      .description(
        'a pod: ready, unready, stop (with a grace in which it is terminating), move (to another node, under its name)',
      )
      .argument('<pod>', 'NAME/CLUSTER/NAMESPACE/POD')
      .argument('<verb>')
      .option('--grace <seconds>', 'for stop', '0')
      .option('--to <node>', 'for move'),
    async () => (await faults()).pod,
  );
}
