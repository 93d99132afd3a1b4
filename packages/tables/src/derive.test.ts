import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Database } from './database.ts';
import { deriveGroups, deriveRows, input } from './derive.ts';
import { TablesError } from './errors.ts';
import { flush } from './virtual-clock.ts';

interface Slice {
  readonly name: string;
  readonly service: string;
  readonly backends: readonly string[];
}
interface Service {
  readonly name: string;
  readonly port: number;
}
interface Frontend {
  readonly service: string;
  readonly port: number;
  readonly backends: readonly string[];
}

function world() {
  const database = new Database({ freeze: true });
  const services = database.table({ name: 'services', key: (row: Service) => row.name });
  const slices = database.table({
    name: 'slices',
    key: (row: Slice) => row.name,
    indexes: { service: { keys: (row) => row.service } },
  });
  const frontends = database.table({ name: 'frontends', key: (row: Frontend) => row.service });
  let computed = 0;
  const compute = (name: string): Frontend | undefined => {
    computed++;
    const service = services.get(name);
    if (!service) return undefined;
    const backends = [...slices.by('service', name)].flatMap((slice) => slice.backends).sort();
    return { service: name, port: service.port, backends };
  };
  const derivation = deriveGroups<Frontend>({
    name: 'frontends',
    inputs: [input(services, (row) => row.name), input(slices, (row) => row.service)],
    output: frontends,
    compute,
  });
  return { database, services, slices, frontends, derivation, compute, computed: () => computed };
}

test('a join is recomputed only for the groups that a change touches', () => {
  const w = world();
  for (let i = 0; i < 50; i++) w.services.put({ name: `s${i}`, port: i });
  w.slices.put({ name: 'a', service: 's1', backends: ['10.0.0.2'] });
  w.slices.put({ name: 'b', service: 's1', backends: ['10.0.0.1'] });
  w.slices.put({ name: 'orphan', service: 'none', backends: [] });
  w.database.settle();
  assert.equal(w.frontends.size, 50);
  assert.deepEqual(w.frontends.get('s1')?.backends, ['10.0.0.1', '10.0.0.2']);
  const before = w.computed();
  const revision = w.frontends.revision;
  w.slices.put({ name: 'b', service: 's2', backends: ['10.0.0.1'] });
  w.database.settle();
  assert.equal(w.computed() - before, 2, 'the group it left and the group it came to');
  assert.equal(w.frontends.revision - revision, 2);
  w.services.delete('s1');
  w.database.settle();
  assert.equal(w.frontends.get('s1'), undefined);
});

test('derived tables follow on their own at the end of the call stack', async () => {
  const w = world();
  w.services.put({ name: 's', port: 1 });
  assert.equal(w.frontends.size, 0);
  await flush();
  assert.equal(w.frontends.size, 1);
  w.derivation[Symbol.dispose]();
  w.services.put({ name: 't', port: 1 });
  await flush();
  assert.equal(w.frontends.size, 1);
  assert.equal(w.services.trackers().length, 0);
});

test('the output is initialized when all inputs are, and never by a derivation that was stopped', () => {
  const w = world();
  const first = w.services.source('k8s');
  const second = w.slices.source('k8s');
  w.services.put({ name: 's', port: 1 });
  first.done();
  w.database.settle();
  assert.deepEqual(w.frontends.pendingSources, ['frontends']);
  second.done();
  w.database.settle();
  assert.equal(w.frontends.initialized, true);

  const stopped = world();
  stopped.services.source('k8s');
  stopped.derivation[Symbol.dispose]();
  assert.equal(stopped.frontends.initialized, false);
});

test('rows map to none, one or several; what throws keeps its last good rows and says so', () => {
  const database = new Database();
  const from = database.table({ name: 'from', key: (row: { id: number; n: number }) => row.id });
  const to = database.table({ name: 'to', key: (row: { k: string }) => row.k });
  using derivation = deriveRows({
    name: 'map',
    from,
    to,
    map: ({ id, n }) => {
      if (n < 0) throw new Error('negative');
      return Array.from({ length: n }, (_, i) => ({ k: `${id}.${i}` }));
    },
  });
  from.put({ id: 1, n: 2 });
  from.put({ id: 2, n: 0 });
  database.settle();
  assert.deepEqual([...to.keys()], ['1.0', '1.1']);
  from.put({ id: 1, n: -1 });
  database.settle();
  assert.deepEqual([...to.keys()], ['1.0', '1.1']);
  assert.match(String(derivation.status().errors.get(1)), /negative/);
  from.put({ id: 1, n: 1 });
  database.settle();
  assert.deepEqual([...to.keys()], ['1.0']);
  assert.equal(derivation.status().errors.size, 0);
});

test('a group whose last row went gives nothing, and is not even asked', () => {
  const database = new Database();
  const from = database.table({
    name: 'from',
    key: (row: { id: number; group: string }) => row.id,
  });
  const to = database.table({
    name: 'to',
    key: (row: { group: string; size: number }) => row.group,
  });
  using derivation = deriveGroups<{ group: string; size: number }>({
    name: 'sizes',
    inputs: [input(from, (row) => row.group)],
    output: to,
    compute: (group) => ({ group, size: [...from].filter((row) => row.group === group).length }),
  });
  from.put({ id: 1, group: 'a' });
  from.put({ id: 2, group: 'a' });
  database.settle();
  assert.equal(to.get('a')?.size, 2);
  from.put({ id: 1, group: 'b' });
  from.delete(2);
  database.settle();
  assert.deepEqual([...to], [{ group: 'b', size: 1 }]);
  assert.equal(derivation.status().groups, 1);
});

test('of groups that claim one key the least has it, whatever came first', () => {
  const database = new Database();
  const claims = database.table({
    name: 'claims',
    key: (row: { who: string; ip: string }) => row.who,
  });
  const owners = database.table({
    name: 'owners',
    key: (row: { ip: string; who: string }) => row.ip,
  });
  using derivation = deriveRows({
    name: 'owners',
    from: claims,
    to: owners,
    map: ({ who, ip }) => ({ ip, who }),
  });
  const owner = (ip: string) => {
    database.settle();
    return owners.get(ip)?.who;
  };
  claims.put({ who: 'm', ip: 'x' });
  assert.equal(owner('x'), 'm');
  claims.put({ who: 'z', ip: 'x' });
  assert.equal(owner('x'), 'm');
  claims.put({ who: 'a', ip: 'x' });
  assert.equal(owner('x'), 'a');
  assert.deepEqual(derivation.status().conflicts, ['x']);
  claims.delete('a');
  assert.equal(owner('x'), 'm');
  claims.put({ who: 'm', ip: 'y' });
  assert.equal(owner('x'), 'z');
  assert.deepEqual(derivation.status().conflicts, []);
  claims.delete('z');
  assert.equal(owner('x'), undefined);
});

test('a bad row of the world does not stop the derivation', () => {
  const database = new Database();
  const from = database.table({ name: 'from', key: (row: { id: string; ip: string }) => row.id });
  const to = database.table({
    name: 'to',
    key: (row: { id: string; ip: string }) => row.id,
    indexes: { ip: { keys: (row) => row.ip, unique: true } },
  });
  using derivation = deriveGroups<{ id: string; ip: string }>({
    name: 'unique',
    inputs: [
      input(from, (row) => {
        if (row.ip === '') throw new Error('no address');
        return row.id;
      }),
    ],
    output: to,
    compute: (id) => from.get(id),
  });
  from.put({ id: 'a', ip: '1' });
  from.put({ id: 'b', ip: '1' });
  from.put({ id: 'c', ip: '' });
  from.put({ id: 'd', ip: '2' });
  database.settle();
  assert.deepEqual([...to.keys()], ['a', 'd']);
  assert.deepEqual([...derivation.status().errors.keys()].sort(), ['b', 'c']);
  from.delete('a');
  database.settle();
  assert.deepEqual([...to.keys()].sort(), ['b', 'd']);
  from.delete('c');
  database.settle();
  assert.equal(derivation.status().errors.size, 0);
});

test('a derivation that would feed itself is refused', () => {
  const w = world();
  assert.throws(
    () => deriveRows({ name: 'loop', from: w.frontends, to: w.services, map: () => undefined }),
    (error: unknown) => error instanceof TablesError && error.code === 'cycle',
  );
  assert.equal(w.frontends.trackers().length, 0);
  assert.equal(w.services.initialized, true);
});

test('model: an incremental join equals one computed from nothing', () => {
  const step = fc.oneof(
    fc.record({ type: fc.constant('service' as const), s: fc.nat(4), port: fc.option(fc.nat(2)) }),
    fc.record({
      type: fc.constant('slice' as const),
      n: fc.nat(5),
      s: fc.option(fc.nat(4)),
      b: fc.nat(9),
    }),
    fc.record({ type: fc.constant('settle' as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const w = world();
      for (const action of steps) {
        if (action.type === 'settle') w.database.settle();
        else if (action.type === 'service') {
          const name = `s${action.s}`;
          if (action.port === null) w.services.delete(name);
          else w.services.put({ name, port: action.port });
        } else {
          const name = `e${action.n}`;
          if (action.s === null) w.slices.delete(name);
          else w.slices.put({ name, service: `s${action.s}`, backends: [String(action.b)] });
        }
      }
      w.database.settle();
      const expected = [...w.services.keys()].map((name) => w.compute(name));
      const byName = (a?: Frontend, b?: Frontend) =>
        (a?.service ?? '') < (b?.service ?? '') ? -1 : 1;
      assert.deepEqual([...w.frontends].sort(byName), expected.sort(byName));
    }),
    { numRuns: 200 },
  );
});
