import fs from 'node:fs';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { Address } from '@causeway/ip';
import { RtSocket, request } from '@causeway/linux';
import { etcdStore } from '@causeway/resources';
import { runAgent } from './agent.ts';
import { checkAgentConfig } from './config/load.ts';
import { silentLog } from './log.ts';
import { FakeDatapath } from './testing/fake-datapath.ts';

const { answerRelayedCall } = await import('../../cni/index.ts' as string);
const runDir = process.argv[2]!;
fs.mkdirSync(runDir, { recursive: true });
const etcd = memoryEtcd({ clock: systemClock });
const store = etcdStore(etcd.connect());
{
  using socket = RtSocket.open();
  socket.apply([
    request.setLink({ name: 'lo' }, { up: true }),
    request.createVeth({ name: 'eth0', up: true, peer: { name: 'eth0p', up: true } }),
  ]);
  const ifindex = socket.link({ name: 'eth0' })!.index;
  socket.apply(
    request.addAddress({
      ifindex,
      address: Address.toBytes(Address.parse('192.0.2.1')),
      prefixLength: 24,
    }),
  );
}
await store.apply([
  {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNode',
    metadata: { name: 'a' },
    spec: {
      addresses: [{ type: 'InternalIP', ip: '192.0.2.1' }],
      ipam: { podCIDRs: ['10.7.0.0/16', 'fd00:7:1::/64'] },
    },
  },
]);
await runAgent(
  checkAgentConfig({
    cluster: { name: 'test', id: 3 },
    node: { name: 'a' },
    routingMode: 'native',
    devices: ['eth0'],
    socketLB: { enabled: false },
    runDir,
  }),
  {
    cniRelay: answerRelayedCall,
    onListening: () => console.log('up'),
    parts: { kv: etcd.connect(), datapath: () => new FakeDatapath() as never, log: silentLog },
  },
);
