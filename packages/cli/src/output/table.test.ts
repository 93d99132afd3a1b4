import assert from 'node:assert/strict';
import { test } from 'node:test';
import { columnsOf, formatTable } from './table.ts';

test('columns are aligned, lines end with their last word, empty cells show a dash', () => {
  const rows = [
    { name: 'a-long-name', ips: ['10.0.0.1', 'fd00::1'], gone: undefined },
    { name: 'b', ips: [], gone: true },
  ];
  assert.equal(
    formatTable(rows, columnsOf(rows, ['name'])),
    [
      'NAME         IPS               GONE',
      'a-long-name  10.0.0.1,fd00::1  -',
      'b            -                 true',
    ].join('\n'),
  );
});

test('nested values are short, headings are words, and nothing drives the terminal', () => {
  const rows = [{ podName: '\u001b[2Jx', policy: { ingress: true, egress: false, mode: 'y' } }];
  assert.equal(formatTable(rows, columnsOf(rows)), 'POD-NAME  POLICY\n?[2Jx     ingress,mode=y');
});
