import type { Socket } from 'node:net';
import type { Clock } from '@causeway/tables';
import type { ChannelModel } from 'amqplib';

/** A broker that hears that we go has so long to say that it heard. */
const ANSWER_MS = 2_000;

/**
 * Takes leave of a broker. The client waits for its answer without end, even when the connection breaks meanwhile, as
 * it does when a broker is being stopped; nobody would ever listen to another again.
 */
export async function closeQuietly(model: ChannelModel, clock: Clock): Promise<void> {
  // Its last events find nobody.
  model.removeAllListeners();
  model.on('error', () => {});
  const broken = new Promise<void>((resolve) => model.on('close', () => resolve()));
  const over = new AbortController();
  await Promise.race([model.close().catch(() => {}), broken, clock.sleep(ANSWER_MS, over.signal)]);
  over.abort();
  // A socket to one that did not answer would stay until the kernel gives it up.
  const { stream } = model.connection as { readonly stream?: Socket };
  stream?.destroy();
}
