import { type Command, Option } from 'commander';
import { runs } from './invocation.ts';

const queries = () => import('../commands/queries.ts');
const policy = () => import('../commands/policy.ts');

/** Commands that ask one node's agent (--node) or all of the context's, and merge the answers. */
export function addAgentQueries(program: Command): void {
  runs(
    program.command('status').description('health of every node: sources, reconcilers, modes'),
    async () => (await import('../commands/status.ts')).status,
  );

  const endpoint = program
    .command('endpoint')
    .alias('endpoints')
    .description('attached interfaces of pods');
  runs(
    endpoint.command('list').description('all endpoints'),
    async () => (await queries()).endpointList,
  );
  runs(
    endpoint
      .command('get')
      .description('one endpoint whole')
      .argument('<id>', 'number, pod, address or container id'),
    async () => (await queries()).endpointGet,
  );
  runs(
    endpoint
      .command('audit')
      .description('audit mode: what policy would drop passes and is counted')
      .argument('<id>', 'as for get')
      .addOption(new Option('--off', 'end it')),
    async () => (await queries()).endpointAudit,
  );

  const identity = program.command('identity').description('numbers that stand for sets of labels');
  runs(
    identity.command('list').description('all identities'),
    async () => (await queries()).identityList,
  );
  runs(
    identity.command('get').description('the labels of one').argument('<number>'),
    async () => (await queries()).identityGet,
  );

  const service = program
    .command('service')
    .alias('services')
    .description('service load balancing');
  runs(
    service.command('list').description('front ends and their backends'),
    async () => (await queries()).serviceList,
  );
  runs(
    service
      .command('why')
      .description('why a service has the backends it has')
      .argument(
        '<service>',
        'NAMESPACE/NAME, NAME in namespace default, or a front end such as 192.0.2.1:80 or [fd00::1]:53/UDP',
      )
      .option('-p, --port <port>', 'one port, by name or number')
      .option('--client <address>', 'for this client outside of the cluster')
      .addOption(
        new Option('--from <side>', 'for clients on this side').choices(['inside', 'outside']),
      ),
    async () => (await queries()).serviceWhy,
  );
  runs(
    service
      .command('checks')
      .description(
        'health checks: each node tries its own backends, edge nodes some of the others',
      ),
    async () => (await queries()).healthChecks,
  );

  const egress = program.command('egress').description('ways out by egress gateways');
  runs(
    egress.command('list').description('policies, their gateways and standbys'),
    async () => (await queries()).egressList,
  );

  const policies = program.command('policy').description('what policy says');
  runs(
    policies.command('list').description('per endpoint: enforcement, rules, map entries'),
    async () => (await queries()).policyList,
  );
  runs(
    policies
      .command('trace')
      .description(
        'would this connection be allowed, and by which rule; exit status 1 if it would not',
      )
      .requiredOption(
        '--from <who>',
        'NAMESPACE/POD, an address, a CIDR, an entity (world), labels (k8s:app=web), or an endpoint id',
      )
      .requiredOption('--to <who>', 'as --from')
      .requiredOption('--port <port>', 'destination port; ICMP: the type')
      .option('--protocol <name>', 'TCP, UDP, SCTP, ICMP or ICMPv6', 'TCP'),
    async () => (await policy()).trace,
  );
  runs(
    policies
      .command('what-if')
      .description('which pairs of existing endpoints would change their verdict')
      .requiredOption('-f, --filename <path...>', 'manifests of policies; file, directory or -'),
    async () => (await policy()).whatIf,
  );

  const ipcache = program
    .command('ipcache')
    .description('addresses, their identities and tunnel endpoints');
  runs(
    ipcache.command('list').description('all entries'),
    async () => (await queries()).ipcacheList,
  );
  runs(
    ipcache.command('get').description('the entry that serves an address').argument('<address>'),
    async () => (await queries()).ipcacheGet,
  );

  const node = program.command('node').description('nodes as the agents see each other');
  runs(node.command('list').description('all nodes'), async () => (await queries()).nodeList);
  runs(
    node.command('ways').description('how each node reaches the pods of each other, and why so'),
    async () => (await import('../commands/nodes.ts')).nodeWays,
  );
  runs(
    node.command('endpoints').description('nodes that are endpoints themselves'),
    async () => (await import('../commands/nodes.ts')).nodeEndpoints,
  );
  runs(
    node
      .command('audit')
      .description("audit mode of a node that is an endpoint itself; outlives the agent's restart")
      .argument('<name>', 'the node')
      .addOption(new Option('--off', 'put its policies in force')),
    async () => (await import('../commands/nodes.ts')).nodeAudit,
  );

  runs(
    program.command('drops').description('drops by reason, and the last ones explained'),
    async () => (await queries()).drops,
  );
  runs(
    program
      .command('monitor')
      .description('a stream of events, until interrupted; --json gives one document a line')
      .option('-t, --type <types>', 'drop, verdict, trace, audit, or several with commas', 'drop'),
    async () => (await import('../commands/monitor.ts')).monitor,
  );
  runs(
    program
      .command('table')
      .description("rows of an agent's table; without a name, the tables")
      .argument('[name]'),
    async () => (await queries()).table,
  );
  runs(
    program.command('metrics').description("the datapath's counters"),
    async () => (await queries()).metrics,
  );
}
