import fs from 'node:fs';
import path from 'node:path';
import { type Log, messageWithCauses, parseBody } from '@causeway/daemon';
import { attachment } from '../api/schemas.ts';
import type { Attachment } from '../api/types.ts';

const MAX_FILE_BYTES = 64 * 1024;

/**
 * Removals that were asked for while no agent ran: the CNI plugin leaves a file with
 * `{containerId, ifname}` each. They are carried out, then forgotten; a file that makes no sense is
 * forgotten too, for it would otherwise be read for ever.
 */
export async function replayDeletions(
  directory: string,
  detach: (attachment: Attachment) => Promise<{ removed: boolean }>,
  log: Log,
): Promise<number> {
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  let removed = 0;
  for (const name of fs.readdirSync(directory)) {
    const file = path.join(directory, name);
    if (name.startsWith('.') || !fs.statSync(file, { throwIfNoEntry: false })?.isFile()) continue;
    let wanted: Attachment | undefined;
    try {
      if (fs.statSync(file).size > MAX_FILE_BYTES)
        throw new Error(`larger than ${MAX_FILE_BYTES} bytes`);
      const { containerId, ifname } = JSON.parse(fs.readFileSync(file, 'utf8')) as Attachment;
      wanted = parseBody(attachment, { containerId, ifname });
    } catch (error) {
      log.warn({ file, error: messageWithCauses(error) }, 'a queued removal makes no sense');
    }
    try {
      if (wanted !== undefined && (await detach(wanted)).removed) removed++;
    } catch (error) {
      log.warn(
        { file, error: messageWithCauses(error) },
        'a queued removal failed and is tried again',
      );
      continue;
    }
    fs.rmSync(file, { force: true });
  }
  return removed;
}
