import { InventoryError } from '../../errors.ts';
import type { Answer, Query, Service } from './service.ts';

/** A list restarts so often when the object that a page was to begin behind is gone. */
const RESTARTS = 5;

export interface List {
  readonly service: Service;
  readonly path: string;
  /** The field of the answer that holds the objects: `ports`. */
  readonly field: string;
  readonly query: Query;
  readonly headers?: Readonly<Record<string, string>>;
  readonly pageSize: number;
  /** More objects than that are an answer gone wrong. */
  readonly most: number;
}

export interface Whole {
  readonly objects: readonly unknown[];
  /** The server's clock as the first page was made, ms since the epoch. */
  readonly serverTime: number | undefined;
}

/**
 * Every page of a list, by markers; whole or not at all. @throws as `Service.get`, and `bad-answer` for a
 * list that has no end or no shape.
 */
export async function listWhole(list: List, signal: AbortSignal): Promise<Whole> {
  for (let restart = 0; ; restart++) {
    const whole = await tryWhole(list, signal);
    if (whole !== undefined) return whole;
    if (restart >= RESTARTS) throw broken(list, 'loses its marker again and again');
  }
}

async function tryWhole(list: List, signal: AbortSignal): Promise<Whole | undefined> {
  const objects: unknown[] = [];
  const markers = new Set<string>();
  let marker: string | undefined;
  let serverTime: number | undefined;
  for (;;) {
    const answer = await list.service.get(
      list.path,
      {
        ...list.query,
        limit: String(list.pageSize),
        ...(marker === undefined ? {} : { marker }),
      },
      signal,
      // The marker's object was deleted while we read: Neutron says 404, Nova 400.
      marker === undefined ? [200] : [200, 400, 404],
      list.headers,
    );
    if (answer.status !== 200) return undefined;
    const date = Date.parse(answer.headers.date ?? '');
    if (marker === undefined && !Number.isNaN(date)) serverTime = date;
    const page = objectsOf(list, answer);
    for (const each of page) objects.push(each);
    if (objects.length > list.most)
      throw broken(list, `has more than ${list.most} objects (limits.objects)`);
    marker = nextMarker(list, answer);
    if (marker === undefined) return { objects, serverTime };
    if (markers.has(marker) || page.length === 0) throw broken(list, 'goes in a circle');
    markers.add(marker);
  }
}

function objectsOf(list: List, answer: Answer): readonly unknown[] {
  const found = (answer.body as Record<string, unknown> | null)?.[list.field];
  if (!Array.isArray(found)) throw broken(list, `has no list ${list.field}`);
  return found;
}

/**
 * Only the marker of the link is taken: its host is what the server believes itself to be, and no answer
 * may send our token elsewhere. A service may give less than was asked for, so the size of a page says
 * nothing.
 */
function nextMarker(list: List, answer: Answer): string | undefined {
  const links = (answer.body as Record<string, unknown>)[`${list.field}_links`];
  if (!Array.isArray(links)) return undefined;
  const next = links.find((link) => (link as { rel?: unknown } | null)?.rel === 'next') as
    | { href?: unknown }
    | undefined;
  if (next === undefined) return undefined;
  const url = typeof next.href === 'string' ? URL.parse(next.href, 'http://site') : null;
  const marker = url?.searchParams.get('marker');
  if (!marker) throw broken(list, 'has a next page without marker');
  return marker;
}

const broken = (list: List, what: string): InventoryError =>
  new InventoryError('bad-answer', `the list ${list.path} ${what}`, {
    field: list.field,
    value: list.path,
  });
