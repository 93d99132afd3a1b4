import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { compileBpf } from '../../test/compile-bpf.ts';
import { openDescriptors } from '../../test/descriptors.ts';
import { UnsupportedError } from '../errors.ts';
import { mount, unmount } from '../mounts.ts';
import { request } from '../netlink/requests.ts';
import { RtSocket } from '../netlink/rt-socket.ts';
import { Netns } from '../netns.ts';
import { Features } from './features.ts';
import { attachCgroup, attachTcx, BpfLink, queryCgroup, queryTcx, unpin } from './link.ts';
import { type LoadedObject, loadObject } from './loader.ts';
import { RingReader } from './ring-reader.ts';
import { attachTcFilter, detachTcFilter, queryTcFilter } from './tc-filter.ts';

const source = `
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 65536); } ring SEC(".maps");
__u64 sequence;

SEC("tc")
int one(struct __sk_buff *skb)
{
  __u64 *record = bpf_ringbuf_reserve(&ring, 8, 0);
  if (!record)
    return 2;
  *record = sequence++;
  bpf_ringbuf_submit(record, 0);
  return 0;
}

SEC("tc")
int two(struct __sk_buff *skb)
{
  return 0;
}

SEC("cgroup/connect4")
int refuse(struct bpf_sock_addr *ctx)
{
  return 0;
}
`;
const name = `cwlink${process.pid}`;
const ifindex = 1; // the loopback of our own namespace
let object: ReturnType<typeof compileBpf>;
let ns: Netns;
let loaded: LoadedObject;
let bpffs: string;
let descriptors: number;

before(() => {
  object = compileBpf(source);
  ns = Netns.create(name);
  {
    using rt = RtSocket.open(ns);
    rt.apply(request.setLink({ index: ifindex }, { up: true }));
  }
  bpffs = mkdtempSync(join(tmpdir(), `causeway-bpffs-${process.pid}-`));
  mount({ type: 'bpf', target: bpffs });
  loaded = loadObject({ path: object.path });
  ns.run(() => queryTcx(ifindex, 'ingress'));
  descriptors = openDescriptors();
});
after(() => {
  const left = openDescriptors() - descriptors;
  loaded.close();
  ns.close();
  Netns.remove(name);
  unmount(bpffs, { lazy: true });
  rmSync(bpffs, { recursive: true, force: true });
  object[Symbol.dispose]();
  assert.equal(left, 0, 'descriptors left open');
});

test('tcx links attach in order, are replaced atomically and end with their descriptor', () => {
  ns.run(() => {
    const [one, two] = [loaded.program('one'), loaded.program('two')];
    {
      using first = attachTcx(one, ifindex, 'ingress');
      using second = attachTcx(two, ifindex, 'ingress');
      assert.deepEqual(
        queryTcx(ifindex, 'ingress').map((row) => row.programId),
        [one.info.id, two.info.id],
      );
      assert.deepEqual(queryTcx(ifindex, 'egress'), []);
      const info = first.info();
      assert.deepEqual(info, {
        type: 'tcx',
        id: queryTcx(ifindex, 'ingress')[0]?.linkId,
        programId: one.info.id,
        ifindex,
        attachType: 46,
      });
      assert.throws(() => first.update(two, two), { code: 'busy' });
      // One program can stand only once in a list.
      second.detach();
      first.update(two, one);
      assert.equal(first.info().programId, two.info.id);
    }
    assert.deepEqual(queryTcx(ifindex, 'ingress'), []);
  });
});

test('a pinned link outlives its descriptor and is found again', async () => {
  const path = join(bpffs, 'link');
  ns.run(() => {
    {
      using link = attachTcx(loaded.program('one'), ifindex, 'egress');
      link.pin(path);
    }
    assert.equal(queryTcx(ifindex, 'egress').length, 1);
    {
      using link = BpfLink.openPinned(path);
      link.update(loaded.program('two'));
      using same = BpfLink.openId(link.info().id);
      assert.equal(same.info().programId, loaded.program('two').info.id);
    }
    assert.equal(unpin(path), true);
    assert.equal(unpin(path), false);
  });
  const attached = () => ns.run(() => queryTcx(ifindex, 'egress').length);
  for (let i = 0; i < 2000 && attached() > 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(attached(), 0);
});

test('a device that is not there is not-found', () => {
  const attach = () => attachTcx(loaded.program('one'), 0x7fff_fff0, 'ingress');
  assert.throws(attach, { code: 'not-found', errnoName: 'ENODEV' });
  const wrongType = () => attachTcx(loaded.program('refuse'), ifindex, 'ingress');
  assert.throws(wrongType, { code: 'invalid-argument' });
});

test('the clsact filter does the same below Linux 6.6', () => {
  ns.run(() => {
    const filter = { ifindex, direction: 'ingress', handle: 1, priority: 0xc5 } as const;
    assert.equal(queryTcFilter(filter), undefined);
    assert.equal(detachTcFilter(filter), false);
    attachTcFilter(loaded.program('one'), filter);
    assert.equal(queryTcFilter(filter)?.programId, loaded.program('one').info.id);
    attachTcFilter(loaded.program('two'), filter);
    assert.equal(queryTcFilter(filter)?.programId, loaded.program('two').info.id);
    assert.equal(detachTcFilter(filter), true);
    assert.equal(queryTcFilter(filter), undefined);
    assert.throws(() => attachTcFilter(loaded.program('one'), { ...filter, ifindex: 99_999 }), {
      code: 'not-found',
    });
  });
});

/** Where cgroup v2 is: at its usual place, or beside version 1. */
function cgroupRoot(): string {
  const unified = '/sys/fs/cgroup/unified';
  return readdirSync('/sys/fs/cgroup').includes('unified') ? unified : '/sys/fs/cgroup';
}

test('a cgroup link decides over the processes inside', async () => {
  const cgroup = join(cgroupRoot(), `causeway-${process.pid}`);
  mkdirSync(cgroup);
  try {
    using link = attachCgroup(loaded.program('refuse'), cgroup, 'connect4');
    assert.equal(link.info().type, 'cgroup');
    assert.equal(link.info().cgroupId, statSync(cgroup, { bigint: true }).ino);
    assert.deepEqual(
      queryCgroup(cgroup, 'connect4').map((row) => row.programId),
      [loaded.program('refuse').info.id],
    );
    assert.deepEqual(queryCgroup(cgroup, 'connect6'), []);
    const { writeFileSync } = await import('node:fs');
    writeFileSync(join(cgroup, 'cgroup.procs'), `${process.pid}`);
    const code = await new Promise((resolve) => {
      connect({ host: '127.0.0.1', port: 9 }).on('error', (error: NodeJS.ErrnoException) =>
        resolve(error.code),
      );
    });
    writeFileSync(join(cgroupRoot(), 'cgroup.procs'), `${process.pid}`);
    assert.equal(code, 'EPERM');
    assert.throws(() => attachCgroup(loaded.program('refuse'), '/nonexistent', 'connect4'), {
      code: 'not-found',
    });
  } finally {
    rmdirSync(cgroup);
  }
});

test('the ring reader gets every record, in order, a bounded number a turn', async () => {
  const got: bigint[] = [];
  const records = 3000;
  const done = Promise.withResolvers<void>();
  using reader = new RingReader({
    map: loaded.map('ring'),
    maxPerTurn: 100,
    onRecord: (record) => {
      got.push(new DataView(record.buffer).getBigUint64(0, true));
      if (got.length === records) done.resolve();
    },
    onError: done.reject,
  });
  for (let i = 0; i < records / 1000; i++) {
    loaded.program('one').testRun({ data: new Uint8Array(64), repeat: 1000 });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await done.promise;
  const first = got[0]!;
  assert.deepEqual(
    got,
    got.map((_, index) => first + BigInt(index)),
  );
  assert.equal(reader.drain(), 0);
});

test('a callback may close its reader, or end it by throwing', async () => {
  const fill = () => loaded.program('one').testRun({ data: new Uint8Array(64), repeat: 10 });
  let count = 0;
  const closing = new RingReader({
    map: loaded.map('ring'),
    onRecord: () => {
      count++;
      closing.close();
    },
  });
  fill();
  for (let i = 0; i < 1000 && count === 0; i++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(count, 1);
  assert.throws(() => closing.drain(), { code: 'closed' });
  const failed = Promise.withResolvers<unknown>();
  new RingReader({
    map: loaded.map('ring'),
    onRecord: () => {
      throw new Error('bad record');
    },
    onError: failed.resolve,
  });
  assert.match(String(await failed.promise), /bad record/);
  using last = new RingReader({ map: loaded.map('ring'), onRecord: () => {} });
  assert.equal(last.drain(), 8);
});

test('features are probed by trying; absence can be simulated and names the kernel', () => {
  const real = new Features();
  for (const row of real.report()) assert.equal(row.present, true, `${row.feature}: ${row.reason}`);
  const old = new Features({ tcx: false, ringbuf: true });
  assert.equal(old.has('tcx'), false);
  assert.equal(old.has('redirect-peer'), true);
  assert.throws(
    () => old.require('tcx'),
    (error) => {
      assert.ok(error instanceof UnsupportedError);
      assert.equal(error.code, 'unsupported');
      assert.equal(error.needs, 'Linux 6.6');
      return true;
    },
  );
  // biome-ignore lint/suspicious/noExplicitAny: what a configuration file could say
  assert.throws(() => new Features({ nothing: true } as any), { code: 'invalid-argument' });
});
