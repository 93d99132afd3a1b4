import { Command, Option } from 'commander';
import { addAgentQueries } from './program/agents.ts';
import { addBgp } from './program/bgp.ts';
import { addIpam } from './program/ipam.ts';
import { addLab } from './program/lab.ts';
import { addMesh } from './program/mesh.ts';
import { addPrograms } from './program/programs.ts';
import { addResources } from './program/resources.ts';

const EXAMPLES = `
Examples:
  causeway lab up demo                                  start a lab and wait until it is whole
  causeway lab exec demo/main/default/employee -- ping -c1 10.40.0.2
  export CAUSEWAY_CONTEXT=lab:demo/main                 work against it from now on
  causeway apply -f examples/protected-db               validate all, then write all
  causeway get pods -A -o wide
  causeway policy trace --from default/visitor --to default/protected-db --port 6379
  causeway policy what-if -f examples/recipes/deny-all.yaml
  causeway bgp why 10.40.3.0/24                         each path, why it lost, whom it goes to
  causeway ipam pools                                   what is given, what is free, who waits
  causeway ipam why 10.40.3.7                           whose an address is, and why
  causeway drops                                        what is dropped, and which rule did it

Contexts:
  --context lab:NAME/CLUSTER[/NODE] works against a lab; any other name stands in
  ~/.config/causeway/contexts.yaml (causeway context list). CAUSEWAY_CONTEXT sets the default.
  Without any, commands ask this machine's agent and the store on its loopback.

Exit status:
  0 done   1 failed   2 wrong usage or input   3 not found   4 exists, changed or busy   5 no answer
`;

/** All commands, described; what they do is loaded only when they are called. */
export function buildProgram(): Command {
  const program = new Command('causeway')
    .description('One network for pods, virtual machines and bare metal.')
    .version('0.1.0')
    .addOption(
      new Option(
        '--context <name>',
        'what to work against: lab:NAME/CLUSTER[/NODE] or a named context',
      ),
    )
    .addOption(new Option('--node <name>', 'ask the agent of this node only'))
    .addOption(new Option('--json', 'print JSON, also for errors'))
    .addHelpText('after', EXAMPLES)
    .showHelpAfterError('(causeway --help says how)')
    .configureHelp({ sortSubcommands: false, showGlobalOptions: true })
    .exitOverride();
  program.commandsGroup('Resources:');
  addResources(program);
  program.commandsGroup('What the agents know and do:');
  addAgentQueries(program);
  addBgp(program);
  program.commandsGroup('Addresses:');
  addIpam(program);
  program.commandsGroup('Other clusters:');
  addMesh(program);
  program.commandsGroup('Labs:');
  addLab(program);
  program.commandsGroup('Programs and settings:');
  addPrograms(program);
  return program;
}
