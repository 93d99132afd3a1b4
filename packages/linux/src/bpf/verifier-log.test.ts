import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findRefusal, summarizeVerifierLog } from './verifier-log.ts';

const log = `0: R1=ctx() R10=fp0
; int bad(struct __sk_buff *skb) @ a.c:3
${Array.from({ length: 500 }, (_, i) => `${i}: (b7) r1 = ${i} ; R1=${i}`).join('\n')}
from 3 to 9: R0=0 R10=fp0
; return *value; @ a.c:9
500: (61) r0 = *(u32 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
processed 501 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`;

test('the summary holds the complaint, its source line and the last instructions', () => {
  const lines = summarizeVerifierLog(log).split('\n');
  assert.equal(lines.at(-1), "R0 invalid mem access 'map_value_or_null'");
  assert.ok(lines.includes('; return *value; @ a.c:9'));
  assert.ok(lines.includes('500: (61) r0 = *(u32 *)(r0 +0)'));
  assert.ok(lines.length <= 13, `${lines.length} lines`);
  assert.ok(!lines.some((line) => line.startsWith('processed')));
});

test('an empty log has an empty summary', () => assert.equal(summarizeVerifierLog(''), ''));

test('the refused program and its whole log are found in what libbpf prints', () => {
  const printed = `libbpf: prog 'from_pod': BPF program load failed: Permission denied
libbpf: prog 'from_pod': -- BEGIN PROG LOAD LOG --
${log}-- END PROG LOAD LOG --
libbpf: prog 'from_pod': failed to load: -13
libbpf: failed to load object 'x.o'
`;
  assert.deepEqual(findRefusal(printed), { program: 'from_pod', log });
  assert.equal(
    findRefusal("libbpf: map 'm': failed to create: Invalid argument(-22)\n"),
    undefined,
  );
});
