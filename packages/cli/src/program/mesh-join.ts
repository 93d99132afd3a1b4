import type { Command } from 'commander';
import { runs } from './invocation.ts';

const expose = () => import('../commands/mesh-expose.ts');
const join = () => import('../commands/mesh-join.ts');
const files = () => import('../commands/mesh-peer-files.ts');

const PKI = '/etc/causeway/mesh';

/** `expose`, `token`, `invite`, `join`, `revoke`, `leave`: run where the directory of the store's certificates is. */
export function addMeshJoin(mesh: Command): void {
  runs(
    pki(mesh.command('expose'))
      .description(
        'make what the store is served with: certificates, users, roles, options of etcd',
      )
      .option('--cluster <name>', 'this cluster; needed the first time')
      .option('--endpoints <urls>', 'how other clusters reach the store: https://HOST:PORT,...')
      .option('--etcd <urls>', 'how this machine reaches it; default: as the others')
      .option('--join <urls>', "how other clusters reach the operators' join endpoint")
      .option('--names <names>', 'further DNS names and addresses for the server’s certificate')
      .option('--ca-cert <file>', "the site's authority in place of one of our own")
      .option('--ca-key <file>', 'its key')
      .option(
        '--proxy <peer=host:port>',
        'also a proxy for this peer; may be repeated',
        collect,
        [],
      )
      .option('--rotate', 'replace our own authority; the old one counts until --retire')
      .option('--retire', 'end the time of the authority before')
      .option('--force', 'with --retire: also if peers still use it'),
    async () => (await expose()).meshExpose,
  );
  runs(
    pki(mesh.command('token'))
      .description('invite a cluster: one sealed token, and the code that opens it')
      .requiredOption('--for <cluster>', 'the only cluster that can use it')
      .option('--minutes <number>', 'how long it can be used', '60')
      .option('--endpoints <urls>', "how this peer reaches the store, such as its proxy's address")
      .option('--server-name <name>', "the name in the server's certificate, if not the host")
      .option('--join <urls>', "our operators' join endpoint; none: join by hand")
      .option('--accept <checks>', 'take these as they are: mtu,version')
      .option('--passphrase-file <file>', 'open it by this in place of a new code')
      .option('--renew', 'new certificates for a cluster that has joined'),
    async () => (await join()).meshToken,
  );
  runs(
    pki(mesh.command('invite'))
      .description('write what a cluster that runs Cilium needs to read this one, in its form')
      .argument('<cluster>', 'its name')
      .requiredOption('--out <directory>', 'where the files go')
      .option('--at <directory>', 'where it will have them; default: where Cilium has them')
      .option('--endpoints <urls>', "how this peer reaches the store, such as its proxy's address"),
    async () => (await files()).meshInvite,
  );
  runs(
    pki(mesh.command('revoke'))
      .description('take back all certificates of a peer but the one given last')
      .argument('<cluster>')
      .option('--all', 'that one too'),
    async () => (await files()).meshRevoke,
  );
  runs(
    pki(mesh.command('join'))
      .description('join with the cluster that gave a token; nothing is written unless all fits')
      .argument('[token]')
      .option('--token-file <file>', 'read it from here; - is standard input')
      .option('--code <code>', 'what opens it')
      .option('--passphrase-file <file>', 'the same from a file')
      .option('--endpoints <urls>', 'how that cluster reaches our store')
      .option('--server-name <name>', "the name in our server's certificate, if not the host")
      .option('--join <urls>', "our operators' join endpoint, to be told when it leaves")
      .option('--accept <checks>', 'take these as they are: mtu,version')
      .option('--one-way', 'our half only, with a token back for the other side')
      .option('--resume', 'finish or undo joins that were interrupted, and end'),
    async () => (await join()).meshJoin,
  );
  runs(
    pki(mesh.command('leave'))
      .description('undo a join here, and on the other side if it answers')
      .argument('<cluster>'),
    async () => (await join()).meshLeave,
  );
}

const pki = (command: Command): Command =>
  command.option('--pki <directory>', "the store's certificates", PKI);

const collect = (value: string, all: readonly string[]): string[] => [...all, value];
