import { type Api, createApi, jsonAnswer, parseBody, readBody } from '@causeway/daemon';
import { Address, Prefix } from '@causeway/ip';
import { planText } from '@causeway/ipam';
import { z } from 'zod';
import { claimViews, switchAddress } from './claims/views.ts';
import { OperatorError } from './errors.ts';
import type { Operator } from './operator.ts';
import { requestRelease } from './requests.ts';
import { drainReport } from './views/drain.ts';
import { planView } from './views/plan.ts';
import { nodeViews, poolViews } from './views/pools.ts';
import { whyAddress } from './views/why.ts';
import { readWorld, type World } from './views/world.ts';

export interface ApiParts {
  readonly operator: Operator;
  /** Without them it only answers questions, as it does over TCP, where nobody is asked who he is. */
  readonly commands: boolean;
  readonly about: () => object;
  readonly onError: (error: unknown, request: { method: string; path: string }) => void;
}

const RELEASE_MS = 20_000;
/** How old an answer may be: whoever asks often, or in numbers, costs the store one reading in this time. */
const WORLD_MS = 500;

const cidrQuery = z.strictObject({
  cidr: z
    .string()
    .refine((text) => Prefix.tryParse(text, { hostBits: 'clear' }) !== undefined, {
      error: 'must be a CIDR such as 10.0.0.0/24',
    })
    .transform((text) => Prefix.parse(text, { hostBits: 'clear' })),
});
const address = z
  .string()
  .refine((text) => Address.tryParse(text) !== undefined, {
    error: 'must be an address such as 10.0.0.1 or fd00::1',
  })
  .transform((text) => Address.parse(text));
const name = z.string().min(1).max(253);

/** The HTTP routes, without a socket. Every instance answers; what is asked of the leader reaches it by the store. */
export function operatorApi({ operator, commands, about, onError }: ApiParts): Api {
  const app = createApi({ program: 'operator', requestBytes: 65_536, onError });
  const shared = new Shared(WORLD_MS, () => readWorld(operator.kv, operator.store));
  const world = (): Promise<World> => shared.get();
  app.get('/v1/status', (c) => c.json({ ...about(), ...operator.status() }));
  app.get('/v1/leader', (c) => {
    const status = operator.status();
    const { leader, leaderName, epoch } = status;
    return c.json({
      name: status.name,
      leader,
      leaderName: leaderName ?? null,
      epoch: epoch ?? null,
    });
  });
  app.get('/v1/pools', async (c) => jsonAnswer(c, poolViews(await world())));
  app.get('/v1/nodes', async (c) => jsonAnswer(c, nodeViews(await world())));
  app.get('/v1/claims', async (c) => jsonAnswer(c, claimViews(await world())));
  app.get('/v1/vips', async (c) => jsonAnswer(c, (await world()).vips));
  // What is told is known to who tells it.
  app.get('/v1/shared-services', (c) => jsonAnswer(c, operator.leading().sharedServices()));
  app.get('/v1/plan', async (c) => {
    const tree = planView(await world());
    return jsonAnswer(c, { tree, text: planText(tree) });
  });
  app.get('/v1/drain', async (c) => {
    const { cidr } = parseBody(cidrQuery, c.req.query());
    return jsonAnswer(c, drainReport(await world(), cidr));
  });
  app.get('/v1/why', async (c) => {
    const query = parseBody(z.strictObject({ address }), c.req.query());
    return jsonAnswer(c, whyAddress(await world(), query.address));
  });
  app.get('/v1/metrics', (c) =>
    c.body(metrics(operator), 200, { 'content-type': 'text/plain; version=0.0.4' }),
  );
  if (!commands) return app;
  app.post('/v1/release', async (c) => {
    const { node } = await readBody(c, z.strictObject({ node: name }));
    const done = await requestRelease(operator.kv, node, AbortSignal.timeout(RELEASE_MS));
    if (done === undefined) {
      throw new OperatorError('not-ready', `no leader has released ${node} yet`, {
        field: 'node',
        value: node,
        hint: 'the request is taken back; ask again when an operator leads: causeway operator status',
      });
    }
    shared.forget();
    return c.json({ node, released: true });
  });
  app.post('/v1/switch', async (c) => {
    const body = await readBody(c, z.strictObject({ address, node: name }));
    const switched = await switchAddress(operator.kv, body.address, body.node);
    shared.forget();
    return jsonAnswer(c, switched);
  });
  return app;
}

/** One reading for all who ask while it is under way and until it is `ms` old. A failed one is not kept. */
class Shared<T> {
  readonly #ms: number;
  readonly #read: () => Promise<T>;
  #last: { until: number; readonly value: Promise<T> } | undefined;

  constructor(ms: number, read: () => Promise<T>) {
    this.#ms = ms;
    this.#read = read;
  }

  get(): Promise<T> {
    if (this.#last !== undefined && performance.now() < this.#last.until) return this.#last.value;
    const mine = { until: Number.POSITIVE_INFINITY, value: this.#read() };
    this.#last = mine;
    mine.value.then(
      () => {
        mine.until = performance.now() + this.#ms;
      },
      () => {
        if (this.#last === mine) this.#last = undefined;
      },
    );
    return mine.value;
  }

  /** What has been changed since is to be seen at once. */
  forget(): void {
    this.#last = undefined;
  }
}

/** Prometheus text. */
function metrics(operator: Operator): string {
  const { leader, ready, counts, giving, parts } = operator.status();
  const lines = [
    '# HELP causeway_operator_leader Whether this instance leads.',
    '# TYPE causeway_operator_leader gauge',
    `causeway_operator_leader ${leader ? 1 : 0}`,
    '# HELP causeway_operator_ready Whether this instance knows its registry and who leads.',
    '# TYPE causeway_operator_ready gauge',
    `causeway_operator_ready ${ready ? 1 : 0}`,
    '# HELP causeway_operator_giving Whether new pod CIDRs are given; 0 also where this instance does not lead.',
    '# TYPE causeway_operator_giving gauge',
    `causeway_operator_giving ${giving === true ? 1 : 0}`,
    '# HELP causeway_operator_failing_tasks Tasks of the leader that fail at present.',
    '# TYPE causeway_operator_failing_tasks gauge',
    `causeway_operator_failing_tasks ${parts.filter(({ lastError }) => lastError !== undefined).length}`,
    '# HELP causeway_operator_pod_cidrs_total Decisions about pod CIDRs in this lead, by what became of them.',
    '# TYPE causeway_operator_pod_cidrs_total counter',
  ];
  for (const [decision, count] of Object.entries(counts ?? {})) {
    lines.push(`causeway_operator_pod_cidrs_total{decision="${decision}"} ${count}`);
  }
  return `${lines.join('\n')}\n`;
}
