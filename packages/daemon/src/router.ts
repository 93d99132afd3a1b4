import { Answer } from './answer.ts';

/** A request as handlers see it. */
export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  /** What stood in place of `:name` in the route, decoded. */
  param(name: string): string;
  param(): Readonly<Record<string, string>>;
  /** The first value of a query parameter. */
  query(name: string): string | undefined;
  query(): Readonly<Record<string, string>>;
  /** The body. @throws DaemonError `body-too-large`. */
  text(): Promise<string>;
}

export class Context {
  readonly req: ApiRequest;

  constructor(request: ApiRequest) {
    this.req = request;
  }

  json(value: unknown, status = 200): Answer {
    return this.body(JSON.stringify(value) ?? 'null', status, {
      'content-type': 'application/json',
    });
  }

  body(text: string, status = 200, headers: Readonly<Record<string, string>> = {}): Answer {
    return new Answer(text, status, headers);
  }
}

export type Handler = (c: Context) => Answer | Promise<Answer>;
export type Method = 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';

export interface RouteOptions {
  /** A lower limit for the body than the API's. */
  readonly maxBytes?: number;
}

export interface Route {
  readonly method: Method;
  /** `:name` takes one segment. */
  readonly segments: readonly string[];
  readonly handler: Handler;
  readonly options: RouteOptions;
}

export interface Found {
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
}

export const segmentsOf = (path: string): string[] => path.split('/').slice(1);

/** The first route that matches; words of a route are as they stand, parameters may be anything but nothing. */
export function findRoute(
  routes: readonly Route[],
  method: string,
  path: string,
): Found | undefined {
  const given = segmentsOf(path);
  for (const route of routes) {
    if (route.method !== method || route.segments.length !== given.length) continue;
    const params = match(route.segments, given);
    if (params !== undefined) return { route, params };
  }
  return undefined;
}

function match(
  wanted: readonly string[],
  given: readonly string[],
): Record<string, string> | undefined {
  const params: Record<string, string> = {};
  for (const [index, segment] of wanted.entries()) {
    const text = given[index] ?? '';
    if (!segment.startsWith(':')) {
      if (segment !== text) return undefined;
    } else if (text === '') return undefined;
    else params[segment.slice(1)] = decoded(text);
  }
  return params;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
