import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Answer } from './answer.ts';
import type { Api } from './api.ts';

/** Brings one request to the API and its answer back. Never throws: who hangs up gets no answer, and no more. */
export async function serve(
  api: Api,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  outgoing.on('error', () => {});
  try {
    const answer = await api.handle(incoming.method ?? 'GET', incoming.url ?? '/', (maxBytes) =>
      readBody(api, incoming, maxBytes),
    );
    // A body that nobody wanted is not read to its end, so the connection cannot be used again.
    if (!incoming.complete) outgoing.setHeader('connection', 'close');
    await write(answer, outgoing);
  } catch {
    outgoing.destroy();
  }
}

async function readBody(api: Api, incoming: IncomingMessage, maxBytes: number): Promise<string> {
  if (Number(incoming.headers['content-length'] ?? 0) > maxBytes) api.refuseBody(maxBytes);
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming) {
    length += (chunk as Buffer).length;
    if (length > maxBytes) api.refuseBody(maxBytes);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}

async function write(answer: Answer, outgoing: ServerResponse): Promise<void> {
  const { content, status, headers } = answer;
  if (typeof content === 'string') {
    outgoing.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(content) });
    outgoing.end(content);
    return;
  }
  const reader = content.getReader();
  // A reader that hangs up is told to the stream at once, not with its next line.
  outgoing.on('close', () => void reader.cancel().catch(() => {}));
  outgoing.writeHead(status, headers);
  outgoing.flushHeaders();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (!outgoing.write(value) && !outgoing.destroyed) await drained(outgoing);
  }
  outgoing.end();
}

const drained = (outgoing: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      outgoing.off('drain', done);
      outgoing.off('close', done);
      resolve();
    };
    outgoing.on('drain', done);
    outgoing.on('close', done);
  });
