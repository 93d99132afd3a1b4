import { type Api, DaemonError, jsonAnswer, readBody, streamAnswer } from '@causeway/daemon';
import {
  type OutsideEndpoint,
  RENEWED_AT,
  ResourceError,
  type ResourceStore,
} from '@causeway/resources';
import { z } from 'zod';
import { InventoryError } from '../errors.ts';

const KIND = 'OutsideEndpoint';
const API_VERSION = 'causeway.io/v1';
const MAX_BULK = 10_000;
const MAX_WATCHES = 64;

/** May be left out. Whoever may write endpoints may write nothing else. */
const type = {
  apiVersion: z.literal(API_VERSION, `must be ${API_VERSION}`).optional(),
  kind: z.literal(KIND, `must be ${KIND}`).optional(),
};

const object = z.looseObject({
  ...type,
  metadata: z.looseObject({ name: z.string().optional() }).optional(),
  spec: z.unknown(),
});

const bulk = z.strictObject({
  put: z
    .array(
      z.looseObject({ ...type, metadata: z.looseObject({ name: z.string() }), spec: z.unknown() }),
    )
    .max(MAX_BULK)
    .default([]),
  delete: z.array(z.string().min(1).max(253)).max(MAX_BULK).default([]),
});

export interface ObjectRoutes {
  readonly store: ResourceStore;
  /** Milliseconds since the epoch. */
  readonly wall: () => number;
}

/**
 * OutsideEndpoint objects over HTTP: list, watch, get, put, delete and many at once. Every instance takes them: what
 * is written reaches the leader through the registry.
 */
export function objectRoutes(api: Api, { store, wall }: ObjectRoutes): void {
  let watches = 0;
  api.get('/v1/outside-endpoints', async (c) => {
    const watch = c.req.query('watch');
    if (watch !== undefined && watch !== 'true' && watch !== 'false') {
      throw new DaemonError('bad-request', 'watch must be true or false', {
        field: 'watch',
        value: watch,
      });
    }
    if (watch === 'true') {
      if (watches >= MAX_WATCHES) {
        throw new DaemonError('stream-full', `${watches} readers watch already`, {
          hint: 'close one of them',
        });
      }
      watches++;
      return streamAnswer(watchLines(store, () => watches--));
    }
    const { items, rejected, resourceVersion } = await store.list(KIND);
    return jsonAnswer(c, { items, rejected, resourceVersion });
  });
  api.get('/v1/outside-endpoints/:name', async (c) =>
    jsonAnswer(c, await refusing(() => store.get(KIND, { name: c.req.param('name') }))),
  );
  api.put('/v1/outside-endpoints/:name', async (c) => {
    const name = c.req.param('name');
    const body = await readBody(c, object);
    const said = body.metadata?.name;
    if (said !== undefined && said !== name) {
      throw new DaemonError('bad-request', `metadata.name must be ${name}, as in the path`, {
        field: 'metadata.name',
        value: said,
      });
    }
    const { results } = await refusing(() => store.apply([whole(body, name, wall())]));
    const [result] = results;
    return c.json(result?.object, result?.action === 'created' ? 201 : 200);
  });
  api.delete('/v1/outside-endpoints/:name', async (c) => {
    const name = c.req.param('name');
    const deleted = await refusing(() => store.delete(KIND, { name }));
    return c.json({ deleted: deleted?.metadata.name ?? name });
  });
  api.post('/v1/outside-endpoints/bulk', async (c) => {
    const given = await readBody(c, bulk);
    const names = new Set(given.put.map(({ metadata }) => metadata.name));
    for (const [index, name] of given.delete.entries()) {
      if (!names.has(name)) continue;
      throw new DaemonError('bad-request', `delete[${index}] stands in put too`, {
        field: `delete[${index}]`,
        value: name,
      });
    }
    const now = wall();
    // All are checked before one is written.
    const objects = given.put.map((each) => whole(each, each.metadata.name, now));
    const report = await refusing(() => store.apply(objects));
    const deleted: { name: string; found: boolean }[] = [];
    for (const name of given.delete) {
      deleted.push({ name, found: await removed(store, name) });
    }
    return c.json({
      put: report.results.map(({ action, name }) => ({ name, action })),
      deleted,
      atomic: report.atomic && given.delete.length === 0,
    });
  });
}

function whole(given: z.infer<typeof object>, name: string, now: number): object {
  const expires = (given.spec as { ttlSeconds?: unknown } | null)?.ttlSeconds !== undefined;
  const metadata = { ...given.metadata, name };
  return {
    ...given,
    apiVersion: API_VERSION,
    kind: KIND,
    metadata: expires
      ? {
          ...metadata,
          annotations: {
            ...(metadata as { annotations?: object }).annotations,
            [RENEWED_AT]: new Date(now).toISOString(),
          },
        }
      : metadata,
  };
}

async function removed(store: ResourceStore, name: string): Promise<boolean> {
  try {
    await store.delete(KIND, { name });
    return true;
  } catch (error) {
    if (error instanceof ResourceError && error.code === 'not-found') return false;
    throw error;
  }
}

/** A refusal of the registry's as an answer, with the field that it is about. */
async function refusing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ResourceError)) throw error;
    if (error.code === 'not-found')
      throw new DaemonError('not-found', error.message, { cause: error });
    if (error.code === 'conflict') {
      throw new InventoryError('conflict', error.message, { cause: error });
    }
    const [issue] = error.issues ?? [];
    throw new InventoryError('bad-item', error.message, {
      ...(issue === undefined ? {} : { field: issue.path, value: issue.value }),
    });
  }
}

/** Lines of `{type: put|delete|synced, ...}`; the list comes first. The registry's watch waits for a slow reader. */
function watchLines(store: ResourceStore, onEnd: () => void): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const stop = new AbortController();
  const line = (value: object) => encoder.encode(`${JSON.stringify(value)}\n`);
  async function* lines(): AsyncGenerator<Uint8Array> {
    try {
      for await (const event of store.watch(KIND, { signal: stop.signal })) {
        switch (event.type) {
          case 'put':
            yield line({ type: 'put', object: event.object satisfies OutsideEndpoint });
            break;
          case 'delete':
            yield line({ type: 'delete', name: event.name });
            break;
          case 'snapshot':
          case 'synced':
            yield line({ type: event.type });
            break;
          case 'rejected':
            yield line({
              type: 'rejected',
              name: event.rejected.name,
              reason: event.rejected.reason,
            });
            break;
          case 'disconnected':
            yield line({ type: 'disconnected', message: event.error.message });
            break;
          default:
            event satisfies never;
        }
      }
    } finally {
      onEnd();
    }
  }
  const source = lines();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await source.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      stop.abort();
      await source.return(undefined);
    },
  });
}
