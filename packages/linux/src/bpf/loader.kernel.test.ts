import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { compileBpf } from '../../test/compile-bpf.ts';
import { openDescriptors } from '../../test/descriptors.ts';
import { LinuxError, VerifierError } from '../errors.ts';
import { mount, unmount } from '../mounts.ts';
import { loadObject } from './loader.ts';
import { BpfMap } from './map.ts';
import { inspectObject } from './object-file.ts';
import { BpfProgram } from './program.ts';
import { readSkbContext, skbContext } from './skb-context.ts';

const source = `
struct addr { __u8 bytes[16]; };
struct value { __u32 identity; struct addr tunnel; __u16 port; __u8 flags; __u8 pad; };
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 64);
  __type(key, struct addr);
  __type(value, struct value);
} ipcache SEC(".maps");
const volatile __u32 answer = 1;
const volatile __u8 mac[6];
const volatile __u64 wide;
__u32 counter;

SEC("tc")
int first(struct __sk_buff *skb)
{
  counter++;
  skb->mark += 1;
  skb->cb[0] = wide >> 60;
  return answer + mac[5];
}

SEC("tc")
int lookup(struct __sk_buff *skb)
{
  struct addr key = { .bytes = { 1 } };
  struct value *found = bpf_map_lookup_elem(&ipcache, &key);
  return found ? found->identity : -1;
}

SEC("tc")
int refused(struct __sk_buff *skb)
{
  struct addr key = {};
  struct value *found = bpf_map_lookup_elem(&ipcache, &key);
  return found->identity;
}
`;
const good = ['first', 'lookup'];
const frame = new Uint8Array(64);

let object: ReturnType<typeof compileBpf>;
let bpffs: string;
let descriptors: number;

before(() => {
  object = compileBpf(source);
  bpffs = mkdtempSync(join(tmpdir(), `causeway-bpffs-${process.pid}-`));
  mount({ type: 'bpf', target: bpffs });
  // The first use of libbpf and of its print hook may keep something open.
  loadObject({ path: object.path, programs: good }).close();
  descriptors = openDescriptors();
});
after(() => {
  const left = openDescriptors() - descriptors;
  unmount(bpffs, { lazy: true });
  rmSync(bpffs, { recursive: true, force: true });
  object[Symbol.dispose]();
  assert.equal(left, 0, 'descriptors left open');
});

test('constants are set before load, by name and width', () => {
  const constants = { answer: 40, mac: Uint8Array.of(0, 0, 0, 0, 0, 2), wide: 2n ** 63n };
  using loaded = loadObject({ path: object.path, programs: good, constants });
  const context = skbContext({ mark: 6 });
  const result = loaded.program('first').testRun({ data: frame, context });
  assert.equal(result.returnValue, 42);
  assert.equal(readSkbContext(result.context).mark, 7);
  assert.equal(readSkbContext(result.context).cb[0], 8);
  assert.equal(result.data.length, 64);
  loaded.program('first').testRun({ data: frame, repeat: 9 });
  const counter = loaded.map('.bss').get(new Uint8Array(4));
  assert.equal(new DataView(counter!.buffer).getUint32(0, true), 10);
});

test('only the wanted programs are loaded', () => {
  using loaded = loadObject({ path: object.path, programs: ['lookup'] });
  assert.deepEqual(loaded.programNames, ['lookup']);
  assert.throws(() => loaded.program('first'), { code: 'bad-object' });
});

test('a refusal names the program and keeps the log', () => {
  assert.throws(
    () => loadObject({ path: object.path }),
    (error) => {
      assert.ok(error instanceof VerifierError);
      assert.equal(error.program, 'refused');
      assert.equal(error.errnoName, 'EACCES');
      assert.match(error.summary, /invalid mem access 'map_value_or_null'/);
      assert.match(error.log, /processed \d+ insns/);
      assert.ok(error.summary.length < error.log.length);
      return true;
    },
  );
});

test('what the object lacks is refused by name', () => {
  const refuse = (options: object, message: RegExp) =>
    assert.throws(
      () => loadObject({ path: object.path, programs: good, ...options }),
      (error) => {
        assert.ok(error instanceof LinuxError);
        assert.match(error.message, message);
        return true;
      },
    );
  refuse({ programs: ['nothing'] }, /no program nothing \(it has first, lookup, refused\)/);
  refuse({ maxEntries: { nothing: 1 } }, /no map nothing/);
  refuse({ constants: { nothing: 1 } }, /no such variable/);
  refuse({ pins: { directory: tmpdir(), maps: ['ipcache'] } }, /on no BPF file system/);
  refuse({ path: '/nonexistent.o' }, /cannot read BPF object/);
  const text = join(bpffs, '..', `causeway-${process.pid}.o`);
  writeFileSync(text, 'no object');
  refuse({ path: text }, /is no BPF object: it is no ELF file/);
  rmSync(text);
});

test('layouts come from the BTF of the object', () => {
  const { btf, programs, license } = inspectObject(object.path);
  btf.check('value', {
    size: 24,
    members: [
      { name: 'identity', offset: 0, size: 4 },
      { name: 'tunnel.bytes', offset: 4, size: 16 },
      { name: 'port', offset: 20, size: 2 },
    ],
  });
  const layout = btf.mapLayout('ipcache');
  assert.deepEqual([layout.keySize, layout.valueSize], [16, 24]);
  assert.equal(layout.value?.name, 'value');
  assert.deepEqual(
    programs.map((program) => program.name),
    ['first', 'lookup', 'refused'],
  );
  assert.equal(license, 'Dual BSD/GPL');
});

test('pinned maps are found again with their entries', () => {
  const pins = { directory: join(bpffs, 'maps'), maps: ['ipcache'] };
  const path = join(pins.directory, 'ipcache');
  const key = new Uint8Array(16);
  key[0] = 1;
  const value = new Uint8Array(24);
  value[0] = 77;
  {
    using loaded = loadObject({ path: object.path, programs: good, pins });
    loaded.map('ipcache').update(key, value);
  }
  {
    using loaded = loadObject({ path: object.path, programs: good, pins });
    assert.equal(loaded.program('lookup').testRun({ data: frame }).returnValue, 77);
    assert.deepEqual(loaded.replacedMaps, []);
  }
  // Another capacity does not fit: refused with what differs, or replaced if so asked.
  const larger = { path: object.path, programs: good, maxEntries: { ipcache: 128 } };
  assert.throws(() => loadObject({ ...larger, pins }), {
    code: 'map-incompatible',
    message: `map ipcache pinned at ${path} does not fit the object: maxEntries is 64, needed 128`,
  });
  {
    using loaded = loadObject({ ...larger, pins: { ...pins, incompatible: 'replace' } });
    assert.deepEqual(loaded.replacedMaps, ['ipcache']);
    assert.equal(loaded.program('lookup').testRun({ data: frame }).returnValue, -1);
  }
  using pinned = BpfMap.openPinned(path);
  assert.equal(pinned.info.maxEntries, 128);
  assert.equal(existsSync(`${path}_new`), false);
});

test('a failed load leaves no new pin', () => {
  const pins = { directory: join(bpffs, 'failed'), maps: ['ipcache'] };
  assert.throws(() => loadObject({ path: object.path, pins }), VerifierError);
  assert.equal(existsSync(join(pins.directory, 'ipcache')), false);
});

test('a map of ours can stand in for the object’s', () => {
  using mine = BpfMap.create({
    name: 'x',
    type: 'hash',
    keySize: 16,
    valueSize: 24,
    maxEntries: 64,
  });
  using loaded = loadObject({ path: object.path, programs: good, reuse: { ipcache: mine } });
  assert.equal(loaded.map('ipcache').info.id, mine.info.id);
  using small = BpfMap.create({
    name: 'x',
    type: 'hash',
    keySize: 4,
    valueSize: 24,
    maxEntries: 64,
  });
  assert.throws(
    () => loadObject({ path: object.path, programs: good, reuse: { ipcache: small } }),
    { code: 'map-incompatible' },
  );
});

test('programs are pinned, found by path and id, and copied', () => {
  const path = join(bpffs, 'first');
  using loaded = loadObject({ path: object.path, programs: good });
  loaded.program('first').pin(path);
  using copy = loaded.program('first').dup();
  loaded.close();
  assert.throws(() => loaded.program('first').testRun({ data: frame }), { code: 'closed' });
  assert.equal(copy.testRun({ data: frame }).returnValue, 1);
  using pinned = BpfProgram.openPinned(path);
  using byId = BpfProgram.openId(pinned.info.id);
  assert.equal(byId.info.tag, copy.info.tag);
  assert.throws(() => BpfMap.openPinned(path), /is no pinned map but anon_inode:bpf-prog/);
  assert.throws(() => BpfProgram.openPinned(join(bpffs, 'none')), { code: 'not-found' });
});
