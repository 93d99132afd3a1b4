import type { Api } from '@causeway/daemon';

/** One request to the agent's own routes, as the CNI plugin makes them. */
export type OwnTransport = (
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
) => Promise<{
  readonly status: number;
  readonly body: unknown;
  readonly retryAfterSeconds?: number;
}>;

/**
 * Answers a call of the CNI plugin that was handed over as text. It runs the plugin's own code here,
 * where Node is warm, and reaches the agent by `transport`.
 */
export type CniRelay = (
  body: string,
  transport: OwnTransport,
) => Promise<{ readonly status: number; readonly body: string }>;

const MAX_RELAY_BYTES = 1_310_720;

/** Adds `POST /v1/cni`. */
export function addRelay(app: Api, relay: CniRelay): void {
  const transport: OwnTransport = async (method, path, body) => {
    const response = await app.request(path, {
      method,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  };
  app.post(
    '/v1/cni',
    async (c) => {
      const { status, body } = await relay(await c.req.text(), transport);
      return c.body(body, status);
    },
    { maxBytes: MAX_RELAY_BYTES },
  );
}
