import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { answerRelayedCall, RELAY_PATH } from '../src/relay.ts';
import type { AgentAnswer, AgentTransport } from '../src/transport.ts';

export interface Row {
  readonly id: number;
  readonly containerId: string;
  readonly ifname: string;
  readonly netns: string;
  readonly body: Record<string, unknown>;
  readonly addresses: { ipv4?: string; ipv6?: string };
}

const BODY_KEYS = new Set(
  'containerId ifname netns podNamespace podName podUid labels cniVersion mtu chained'.split(' '),
);

/**
 * The agent's side of the contract, without a network behind it: strict about what it is sent (unknown fields are
 * refused), idempotent, and with switches for the states in which the real one can be.
 */
export class FakeAgent implements AsyncDisposable {
  readonly rows = new Map<string, Row>();
  readonly requests: { method: string; path: string; body: unknown }[] = [];
  /** Answer this many requests with 503 and Retry-After first. */
  notReady = 0;
  cni: { ready: boolean; reasons: string[] } = { ready: true, reasons: [] };
  /** Next answers, in place of the right ones. */
  readonly scripted: AgentAnswer[] = [];
  /** Whether `POST /v1/cni` exists. */
  relay = false;
  families: readonly ('ipv4' | 'ipv6')[] = ['ipv4', 'ipv6'];
  #server: http.Server | undefined;
  #next = 1;

  /** Serves on a Unix socket. */
  async listen(socketPath: string): Promise<this> {
    fs.mkdirSync(path.dirname(socketPath), { recursive: true });
    fs.rmSync(socketPath, { force: true });
    const server = http.createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', async () => {
        const text = Buffer.concat(chunks).toString();
        const where = request.url ?? '';
        // The real agent's HTTP server makes a URL of it and refuses a request without.
        if (request.headers.host === undefined) {
          response.writeHead(400).end();
          return;
        }
        if (where === RELAY_PATH) {
          if (!this.relay) {
            response.writeHead(404).end();
            return;
          }
          const { status, body } = await answerRelayedCall(text, this.transport);
          await new Promise((resolve) => setTimeout(resolve, 1));
          response.writeHead(status).end(body);
          return;
        }
        const parsed: unknown = text === '' ? undefined : JSON.parse(text);
        const { status, body, retryAfterSeconds } = this.answer(
          request.method ?? '',
          where,
          parsed,
        );
        response.writeHead(status, {
          'content-type': 'application/json',
          ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
        });
        response.end(JSON.stringify(body));
      });
    });
    // As the real agent's server does: whoever closes its side before the answer gets none.
    server.on('connection', (socket) => socket.on('end', () => socket.destroy()));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(socketPath, resolve);
    });
    this.#server = server;
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    await new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  }

  readonly transport: AgentTransport = async (method, where, body) =>
    this.answer(method, where, body === undefined ? undefined : JSON.parse(JSON.stringify(body)));

  answer(method: string, where: string, body: unknown): AgentAnswer {
    this.requests.push({ method, path: where, body });
    if (this.notReady > 0) {
      this.notReady -= 1;
      return { ...refuse(503, 'not-ready', 'the agent is starting'), retryAfterSeconds: 0.02 };
    }
    const scripted = this.scripted.shift();
    if (scripted !== undefined) return scripted;
    const fields = (body ?? {}) as Record<string, unknown>;
    if (method === 'POST' && where === '/v1/endpoints') return this.#attach(fields);
    if (method === 'POST' && where === '/v1/endpoints/check') {
      const row = this.rows.get(`${fields.containerId}/${fields.ifname}`);
      return row === undefined
        ? refuse(409, 'check-failed', 'there is no such endpoint')
        : { status: 200, body: this.#endpoint(row) };
    }
    if (method === 'POST' && where === '/v1/gc') {
      const valid = fields.validAttachments as { containerId: string; ifname: string }[];
      const keep = new Set(valid.map((one) => `${one.containerId}/${one.ifname}`));
      const removed = [...this.rows.values()].filter(
        (row) => !keep.has(`${row.containerId}/${row.ifname}`),
      );
      for (const row of removed) this.rows.delete(`${row.containerId}/${row.ifname}`);
      return { status: 200, body: { removed } };
    }
    if (method === 'GET' && where === '/v1/status') {
      return { status: 200, body: { ready: true, cni: this.cni } };
    }
    const one = /^\/v1\/endpoints\/by-container\/([^/]+)\/([^/]+)$/.exec(where);
    if (one !== null && method === 'DELETE') {
      const removed = this.rows.delete(`${one[1]}/${decodeURIComponent(one[2] as string)}`);
      return { status: 200, body: { removed } };
    }
    return refuse(404, 'unknown-route', `${method} ${where}`);
  }

  #attach(body: Record<string, unknown>): AgentAnswer {
    const unknown = Object.keys(body).find((key) => !BODY_KEYS.has(key));
    if (unknown !== undefined) return refuse(400, 'bad-request', 'no such field', unknown);
    const { containerId, ifname, netns } = body;
    if (![containerId, ifname, netns].every((value) => typeof value === 'string' && value !== '')) {
      return refuse(400, 'bad-request', 'a field is missing');
    }
    const key = `${containerId}/${ifname}`;
    const before = this.rows.get(key);
    if (before !== undefined) return { status: 200, body: this.#endpoint(before) };
    const id = this.#next++;
    const chained = body.chained as { addresses: Row['addresses'] } | undefined;
    const addresses = chained?.addresses ?? {
      ...(this.families.includes('ipv4') && { ipv4: `10.7.${id >> 8}.${id & 255}` }),
      ...(this.families.includes('ipv6') && { ipv6: `fd07::${id.toString(16)}` }),
    };
    const row = { id, containerId, ifname, netns, body, addresses } as Row;
    this.rows.set(key, row);
    return { status: 201, body: this.#endpoint(row) };
  }

  #endpoint({ id, containerId, ifname, addresses }: Row): unknown {
    return {
      id,
      containerId,
      ifname,
      hostIfname: `cw${id.toString(16).padStart(10, '0')}`,
      hostIfindex: 100 + id,
      addresses,
      gateways: {
        ...(addresses.ipv4 && { ipv4: '10.7.255.1' }),
        ...(addresses.ipv6 && { ipv6: 'fd07::ffff' }),
      },
      mac: '02:00:00:00:00:01',
      hostMac: '02:00:00:00:00:02',
      mtu: 1450,
      identity: 12_345,
      labels: [],
      state: 'ready',
      policy: { ingress: false, egress: false, audit: false },
    };
  }
}

export function refuse(status: number, code: string, message: string, field?: string): AgentAnswer {
  return { status, body: { error: { code, message, field, hint: 'see the tests' } } };
}
