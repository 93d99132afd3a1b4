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
    await write(answer, outgoing, incoming);
  } catch {
    outgoing.destroy();
  }
}

async function readBody(api: Api, incoming: IncomingMessage, maxBytes: number): Promise<string> {
  if (Number(incoming.headers['content-length'] ?? 0) > maxBytes) api.refuseBody(maxBytes);
  const chunks: Buffer[] = [];
  let length = 0;
  // Leaving the loop early must not take the connection down, for the refusal goes over it.
  for await (const chunk of incoming.iterator({ destroyOnReturn: false })) {
    length += (chunk as Buffer).length;
    if (length > maxBytes) api.refuseBody(maxBytes);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}

async function write(
  answer: Answer,
  outgoing: ServerResponse,
  incoming: IncomingMessage,
): Promise<void> {
  const { content, status, headers } = answer;
  if (typeof content === 'string') {
    const unread = !incoming.complete;
    // A body that nobody wanted may have no end, so the connection is not used again.
    if (unread) outgoing.setHeader('connection', 'close');
    outgoing.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(content) });
    outgoing.write(content);
    if (unread) await passOver(incoming);
    outgoing.end();
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

/** Who is still writing sees an error, not our answer, if the connection goes at once. */
const PASS_OVER_BYTES = 4 << 20;
const PASS_OVER_MS = 1000;

/** Lets the rest of a body come in unread, within bounds. */
function passOver(incoming: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let left = PASS_OVER_BYTES;
    const timer = setTimeout(resolve, PASS_OVER_MS);
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    incoming.on('data', (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) done();
    });
    for (const event of ['end', 'error', 'close']) incoming.on(event, done);
    incoming.resume();
  });
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
