import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteWriter } from '@causeway/wire';
import fc from 'fast-check';
import { LinuxError } from '../errors.ts';
import { Btf } from './btf.ts';
import { parseElf } from './elf.ts';

const names = [
  '',
  'unsigned int',
  '__u32',
  'pair',
  'a',
  'b',
  'outer',
  'list',
  'color',
  'red',
  'blue',
];

/** The section that a compiler would write for a few types, by hand. */
function section(): Uint8Array {
  const offsets = new Map<string, number>();
  const strings = new ByteWriter('little');
  for (const name of names) {
    offsets.set(name, strings.length);
    strings.cstring(name);
  }
  const types = new ByteWriter('little');
  const type = (name: string, kind: number, count: number, size: number) =>
    types
      .u32(offsets.get(name)!)
      .u32(((kind << 24) | count) >>> 0)
      .u32(size);
  type('unsigned int', 1, 0, 4).u32(32); // 1
  type('__u32', 8, 0, 1); // 2: typedef of 1
  type('pair', 4, 2, 8); // 3: struct of two __u32
  types.u32(offsets.get('a')!).u32(2).u32(0);
  types.u32(offsets.get('b')!).u32(2).u32(32);
  type('', 3, 0, 0).u32(2).u32(1).u32(3); // 4: __u32[3]
  type('', 5, 1, 8); // 5: anonymous union of a pair
  types.u32(offsets.get('b')!).u32(3).u32(0);
  type('outer', 4, 2, 20); // 6
  types.u32(offsets.get('list')!).u32(4).u32(0);
  types.u32(0).u32(5).u32(96);
  type('color', 6, 2, 4); // 7: enum
  types.u32(offsets.get('red')!).u32(1);
  types.u32(offsets.get('blue')!).u32(7);
  const writer = new ByteWriter('little');
  writer.u16(0xeb9f).u8(1).u8(0).u32(24).u32(0).u32(types.length);
  writer.u32(types.length).u32(strings.length).bytes(types.finish()).bytes(strings.finish());
  return writer.finish();
}

test('layouts are read through typedefs, arrays and anonymous members', () => {
  const outer = Btf.parse(section()).structLayout('outer');
  assert.equal(outer.size, 20);
  const [list, anonymous] = outer.members;
  assert.deepEqual(list, { name: 'list', offset: 0, bitOffset: 0, size: 12, type: '__u32[3]' });
  assert.equal(anonymous?.members?.[0]?.type, 'struct pair');
  assert.equal(anonymous?.members?.[0]?.members?.[1]?.offset, 16);
});

test('a declaration that agrees passes; every difference is named', () => {
  const btf = Btf.parse(section());
  const agreed = [
    { name: 'list', offset: 0, size: 12 },
    { name: 'b.a', offset: 12, size: 4 },
  ];
  btf.check('outer', { size: 20, members: agreed });
  const wrong = [
    { name: 'list', offset: 4, size: 12 },
    { name: 'c', offset: 0, size: 1 },
  ];
  assert.throws(() => btf.check('outer', { size: 24, members: wrong }), {
    code: 'layout-mismatch',
    message:
      'struct outer of the object differs from its declaration: size is 20, declared 24; list is 12 bytes at 0, declared 12 at 4; c is missing',
  });
  assert.throws(() => btf.check('absent', { size: 0, members: [] }), { code: 'bad-object' });
});

test('enumerations give their values', () => {
  assert.deepEqual(
    [...Btf.parse(section()).enumValues('color')],
    [
      ['red', 1],
      ['blue', 7],
    ],
  );
});

test('every cut of the section and any bytes are read or are a bad object', () => {
  const bytes = section();
  const read = (input: Uint8Array) => {
    try {
      Btf.parse(input).structLayout('outer');
    } catch (error) {
      assert.ok(error instanceof LinuxError && error.code === 'bad-object', String(error));
    }
  };
  for (let length = 0; length < bytes.length; length++) read(bytes.subarray(0, length));
  const damaged = fc.tuple(fc.nat(bytes.length - 1), fc.nat(255));
  fc.assert(
    fc.property(fc.array(damaged, { maxLength: 8 }), (changes) => {
      const copy = bytes.slice();
      for (const [at, value] of changes) copy[at] = value;
      read(copy);
    }),
  );
});

test('what is no ELF file is a bad object that names the file', () => {
  for (const bytes of [new Uint8Array(0), new Uint8Array(100), Buffer.from('\x7fELF'.padEnd(64))]) {
    assert.throws(
      () => parseElf(bytes, 'x.o'),
      (error: LinuxError) => {
        assert.equal(error.code, 'bad-object');
        assert.match(error.message, /^x\.o is no BPF object: /);
        return true;
      },
    );
  }
});
