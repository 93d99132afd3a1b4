import { spawnSync } from 'node:child_process';
import { complianceSuite } from '../testing/compliance.ts';
import { EtcdProcess } from '../testing/etcd-process.ts';
import { connectKv } from './connect.ts';

complianceSuite('etcd', async () => {
  const etcd = await EtcdProcess.start();
  return {
    connect: () => connectKv({ endpoints: [etcd.endpoint] }),
    compact: async () => {
      const env = { ...process.env, ETCDCTL_API: '3' };
      const ctl = (...words: string[]) =>
        spawnSync('/usr/bin/etcdctl', ['--endpoints', etcd.endpoint, ...words], {
          env,
          encoding: 'utf8',
        });
      const { stdout } = ctl('endpoint', 'status', '--write-out', 'json');
      const revision = JSON.parse(stdout)[0].Status.header.revision;
      const { status, stderr } = ctl('compact', String(revision));
      if (status !== 0) throw new Error(`etcdctl compact: ${stderr}`);
    },
    restart: async () => {
      await etcd.stop();
      await new Promise((resolve) => setTimeout(resolve, 200));
      etcd.start();
    },
    wipe: () => etcd.wipe(),
    [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose](),
  };
});
