import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Port, Server } from './objects.ts';
import { type Asked, SiteView } from './view.ts';

const options = {
  compute: true,
  labelsFrom: ['tags', 'metadata', 'project'] as ('tags' | 'metadata' | 'project')[],
  projectAsNamespace: false,
  deviceOwners: ['compute:*'],
  projects: [],
  networks: [],
  tags: [],
};

const port = (id: string, fields: Partial<Port> = {}): Port => ({
  id,
  name: '',
  addresses: ['192.0.2.1'],
  pairs: [],
  tags: [],
  deviceOwner: 'compute:nova',
  device: '',
  project: '',
  network: '',
  status: '',
  vnicType: '',
  host: '',
  revision: undefined,
  updatedAt: undefined,
  ...fields,
});

const server = (id: string, fields: Partial<Server> = {}): Server => ({
  id,
  name: id,
  status: 'ACTIVE',
  metadata: {},
  tags: [],
  project: '',
  zone: '',
  host: '',
  updatedAt: undefined,
  ...fields,
});

const none: ReadonlySet<string> = new Set();

test('a list does not undo what was learnt since it was asked for', () => {
  const view = new SiteView(options);
  const list = view.ask();
  const single = view.ask();
  view.sawPort(single, port('new'));
  view.missedPort(single, 'gone');
  view.settle(single);
  view.sawAllPorts(list, [port('gone'), port('old')], none);
  view.settle(list);
  assert.deepEqual(
    view.items().map((item) => item.id),
    ['new', 'old'],
  );
  // Asked for now, the list is the truth.
  const later = view.ask();
  view.sawAllPorts(later, [port('old')], none);
  view.settle(later);
  assert.deepEqual(
    view.items().map((item) => item.id),
    ['old'],
  );
});

test('of two answers side by side the higher revision stays, whoever asked first', () => {
  const view = new SiteView(options);
  const first = view.ask();
  const second = view.ask();
  view.sawPort(second, port('p', { name: 'two', revision: 2 }));
  view.sawPort(first, port('p', { name: 'three', revision: 3 }));
  assert.equal(view.items()[0]?.name, 'three');
});

test('what could not be read stays as it was', () => {
  const view = new SiteView(options);
  const before = view.ask();
  view.sawAllPorts(before, [port('a'), port('b')], none);
  view.settle(before);
  const after = view.ask();
  view.sawAllPorts(after, [port('a')], new Set(['b']));
  assert.equal(view.ports, 2);
});

test('tells of no port before its server and its names are known', () => {
  const view = new SiteView(options);
  const asked = view.ask();
  view.sawPort(asked, port('p', { device: 'vm', project: 'shop' }));
  assert.deepEqual(view.takeChanged(), ['p']);
  assert.equal(view.item('p'), 'wanting');
  assert.deepEqual(view.wanted(), [{ type: 'server', id: 'vm' }, { type: 'names' }]);
  view.sawServer(asked, server('vm', { metadata: { role: 'db' } }));
  assert.equal(view.item('p'), 'wanting');
  view.setNames({ projects: new Map([['shop', 'Shop']]), networks: new Map() });
  assert.deepEqual(view.takeChanged(), ['p']);
  const item = view.item('p');
  assert.ok(item !== undefined && item !== 'wanting');
  assert.equal(item.labels.role, 'db');
  assert.equal(item.labels['openstack.causeway.io/project-name'], 'Shop');
  assert.deepEqual(view.wanted(), []);
});

test('a server’s change reaches its ports, also when it has none of its own any more', () => {
  const view = new SiteView(options);
  const asked = view.ask();
  view.sawServer(asked, server('vm'));
  view.sawPort(asked, port('p', { device: 'vm' }));
  view.takeChanged();
  const later = view.ask();
  view.sawServer(later, server('vm'));
  assert.deepEqual(view.takeChanged(), []);
  view.sawServer(later, server('vm', { tags: ['new'] }));
  assert.deepEqual(view.takeChanged(), ['p']);
  view.sawServer(view.ask(), server('vm', { status: 'DELETED' }));
  const item = view.item('p');
  assert.ok(item !== undefined && item !== 'wanting');
  assert.deepEqual(item.labels, {});
  view.missedPort(view.ask(), 'p');
  assert.equal(view.servers, 0);
});

interface Truth {
  readonly tags: Map<string, string>;
}

/** A site that changes, and questions that are answered late and in any order. */
type Step =
  | { readonly type: 'change'; readonly id: string; readonly tag: string }
  | { readonly type: 'remove'; readonly id: string }
  | { readonly type: 'ask-list' }
  | { readonly type: 'ask-one'; readonly id: string }
  | { readonly type: 'serve'; readonly which: number }
  | { readonly type: 'answer'; readonly which: number };

const anId = fc.constantFrom('a', 'b', 'c');
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    type: fc.constant('change' as const),
    id: anId,
    tag: fc.string({ minLength: 1, maxLength: 2, unit: fc.constantFrom('x', 'y', 'z') }),
  }),
  fc.record({ type: fc.constant('remove' as const), id: anId }),
  fc.record({ type: fc.constant('ask-list' as const) }),
  fc.record({ type: fc.constant('ask-one' as const), id: anId }),
  fc.record({ type: fc.constant('serve' as const), which: fc.nat(9) }),
  fc.record({ type: fc.constant('answer' as const), which: fc.nat(9) }),
);

interface Question {
  readonly asked: Asked;
  /** undefined: all. */
  readonly id: string | undefined;
  /** What the site was when it looked; undefined: it has not yet. */
  seen: Truth['tags'] | undefined;
}

test('whatever order answers come in, one more list shows the truth, and items told of are as held', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const view = new SiteView({ ...options, compute: false });
      const truth = new Map<string, string>();
      const told = new Map<string, string>();
      const open: Question[] = [];
      const ask = (id: string | undefined) => open.push({ asked: view.ask(), id, seen: undefined });
      const tell = () => {
        for (const id of view.takeChanged()) {
          const item = view.item(id);
          if (item === undefined) told.delete(id);
          else if (item !== 'wanting') told.set(id, Object.keys(item.labels).join());
        }
      };
      const answer = (question: Question) => {
        const seen = question.seen ?? new Map(truth);
        const one = (id: string) => port(id, { tags: [seen.get(id) ?? ''] });
        if (question.id === undefined)
          view.sawAllPorts(question.asked, [...seen.keys()].map(one), none);
        else if (seen.has(question.id)) view.sawPort(question.asked, one(question.id));
        else view.missedPort(question.asked, question.id);
        view.settle(question.asked);
        tell();
      };
      for (const each of steps) {
        if (each.type === 'change') truth.set(each.id, each.tag);
        else if (each.type === 'remove') truth.delete(each.id);
        else if (each.type === 'ask-list') ask(undefined);
        else if (each.type === 'ask-one') ask(each.id);
        else if (each.type === 'serve') {
          const question = open[each.which % open.length];
          if (question !== undefined) question.seen ??= new Map(truth);
        } else {
          const [question] = open.splice(each.which % (open.length || 1), 1);
          if (question !== undefined) answer(question);
        }
      }
      ask(undefined);
      const last = open.pop();
      if (last !== undefined) answer(last);
      // Whatever was still under way comes after it, and changes nothing any more.
      for (const question of open.splice(0)) if (question.seen !== undefined) answer(question);
      assert.deepEqual([...told].sort(), [...truth].sort());
      assert.equal(view.ports, truth.size);
    }),
    { numRuns: 500 },
  );
});
