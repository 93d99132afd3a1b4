import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import {
  callError,
  codeOfErrno,
  errnoName,
  mapError,
  NetlinkBatchError,
  NetlinkError,
  UnsupportedError,
  VerifierError,
} from './errors.ts';

test('errno gets its name and its code', () => {
  const cases: [number, string, string][] = [
    [1, 'EPERM', 'denied'],
    [2, 'ENOENT', 'not-found'],
    [11, 'EAGAIN', 'busy'],
    [16, 'EBUSY', 'busy'],
    [17, 'EEXIST', 'exists'],
    [19, 'ENODEV', 'not-found'],
    [22, 'EINVAL', 'invalid-argument'],
    [95, 'EOPNOTSUPP', 'unsupported'],
    [105, 'ENOBUFS', 'system'],
    [524, 'ENOTSUPP', 'unsupported'],
    [4001, 'errno 4001', 'system'],
  ];
  for (const [errno, name, code] of cases) {
    assert.equal(errnoName(errno), name);
    assert.equal(codeOfErrno(errno), code);
  }
});

test('a full map says so, whichever errno its type uses', () => {
  for (const errno of [-7, -28]) {
    const error = mapError('update', errno, 'ipcache');
    assert.equal(error.code, 'map-full');
    assert.match(error.message, /update BPF map ipcache: the map is full/);
  }
  assert.equal(callError('x', -28).code, 'system');
});

test('errors carry what they are about', () => {
  const missing = new UnsupportedError('tcx', 'Linux 6.6');
  assert.equal(missing.message, 'this kernel has no tcx: it needs Linux 6.6 or later');
  assert.equal(missing.feature, 'tcx');
  const refused = new NetlinkError('new-route', 101, 'Nexthop has invalid gateway', 'gateway');
  const batch = new NetlinkBatchError([{ index: 3, error: refused }]);
  assert.equal(batch.cause, refused);
  assert.equal(batch.failures[0]?.index, 3);
  assert.match(batch.message, /1 netlink requests failed: .*invalid gateway.*ENETUNREACH/);
});

test('printing a refusal does not print its whole log', () => {
  const error = new VerifierError('from_pod', 'why', 'x'.repeat(100_000), 13);
  assert.equal(error.log.length, 100_000);
  assert.ok(inspect(error).length < 5000);
});
