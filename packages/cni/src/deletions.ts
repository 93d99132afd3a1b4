import fs from 'node:fs';
import path from 'node:path';
import type { Attachment } from './config.ts';
import { isContainerId, isIfname } from './environment.ts';
import { CniCode, CniError } from './errors.ts';

/**
 * Deletions that found no agent, one file each beside the agent's socket. The agent replays them before it takes
 * its first request, so that a pod which went while it was down is not brought back.
 *
 * A file is named `CONTAINER@IFNAME.json` (neither part may hold a slash), so repeating a deletion adds nothing.
 */
export interface Deletion extends Attachment {
  /** The network namespace as the runtime named it; may be gone. Empty if the runtime gave none. */
  readonly netns: string;
  /** When it was asked for, in RFC 3339. */
  readonly requestedAt: string;
}

/** More than a node has pods: past this, somebody is filling the disk and the runtime must try again later. */
export const MAX_DELETIONS = 10_000;
const MAX_FILE_BYTES = 8192;

export function deletionsDirectory(agentSocket: string): string {
  return path.join(path.dirname(agentSocket), 'deletions');
}

const fileName = ({ containerId, ifname }: Attachment) => `${containerId}@${ifname}.json`;

/** Writes the request whole or not at all. Throws CniError 5 or 11. */
export function recordDeletion(directory: string, deletion: Deletion): void {
  const name = fileName(deletion);
  const temporary = path.join(directory, `.${name}.${process.pid}`);
  try {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    const present = fs.readdirSync(directory);
    if (present.length >= MAX_DELETIONS && !present.includes(name)) {
      throw new CniError(
        CniCode.tryAgainLater,
        `${directory} holds ${present.length} deletions that wait for the agent`,
        'Start the Causeway agent: it works them off.',
      );
    }
    const text = JSON.stringify({ version: 1, ...deletion });
    const fd = fs.openSync(temporary, 'w', 0o600);
    try {
      fs.writeSync(fd, text);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(temporary, path.join(directory, name));
  } catch (cause) {
    fs.rmSync(temporary, { force: true });
    if (cause instanceof CniError) throw cause;
    throw new CniError(
      CniCode.ioFailure,
      `the agent does not answer, and its deletion request could not be kept in ${directory}`,
      String((cause as Error).message),
      cause,
    );
  }
}

export function isDeletionRecorded(directory: string, attachment: Attachment): boolean {
  return fs.existsSync(path.join(directory, fileName(attachment)));
}

/** Takes a request back; returns whether there was one. */
export function forgetDeletion(directory: string, attachment: Attachment): boolean {
  try {
    fs.unlinkSync(path.join(directory, fileName(attachment)));
    return true;
  } catch {
    return false;
  }
}

/** What waits in the directory, and the files that are no deletion request, which the caller reports and removes. */
export function readDeletions(directory: string): {
  readonly deletions: Deletion[];
  readonly unreadable: { readonly file: string; readonly reason: string }[];
} {
  const deletions: Deletion[] = [];
  const unreadable: { file: string; reason: string }[] = [];
  let names: string[] = [];
  try {
    names = fs.readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  for (const name of names) {
    const file = path.join(directory, name);
    try {
      const deletion = readOne(file);
      if (fileName(deletion) !== name) throw new Error('its name is not that of its content');
      deletions.push(deletion);
    } catch (error) {
      unreadable.push({ file, reason: (error as Error).message });
    }
  }
  return { deletions, unreadable };
}

function readOne(file: string): Deletion {
  if (!fs.lstatSync(file).isFile()) throw new Error('it is no regular file');
  if (fs.statSync(file).size > MAX_FILE_BYTES) throw new Error(`over ${MAX_FILE_BYTES} bytes`);
  const value = JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, unknown> | null;
  const { version, containerId, ifname, netns, requestedAt } = value ?? {};
  if (version !== 1) throw new Error(`its version is ${String(version)}, not 1`);
  if (!isContainerId(containerId) || !isIfname(ifname)) throw new Error('it names no attachment');
  if (typeof netns !== 'string' || typeof requestedAt !== 'string')
    throw new Error('fields missing');
  return { containerId, ifname, netns, requestedAt };
}
