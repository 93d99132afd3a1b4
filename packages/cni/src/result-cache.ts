import fs from 'node:fs';
import path from 'node:path';
import type { Attachment } from './config.ts';
import { isContainerId, isIfname } from './environment.ts';
import { RuntimeError } from './network-list.ts';

/** What a runtime must keep of an attachment between ADD and DEL (section 3, "Adding an attachment"). */
export interface CachedAttachment extends Attachment {
  readonly network: string;
  readonly netns: string;
  readonly args: Readonly<Record<string, string>>;
  readonly capabilityArgs: Readonly<Record<string, unknown>>;
  readonly result: Readonly<Record<string, unknown>>;
}

/** One file an attachment, written whole or not at all. */
export class ResultCache {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  write(entry: CachedAttachment): void {
    fs.mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const file = this.#file(entry.network, entry);
    const temporary = `${file}.${process.pid}`;
    fs.writeFileSync(temporary, JSON.stringify({ version: 1, ...entry }), { mode: 0o600 });
    fs.renameSync(temporary, file);
  }

  read(network: string, attachment: Attachment): CachedAttachment | undefined {
    const file = this.#file(network, attachment);
    let text: string;
    try {
      text = fs.readFileSync(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    return parse(file, text);
  }

  remove(network: string, attachment: Attachment): void {
    fs.rmSync(this.#file(network, attachment), { force: true });
  }

  /** Every attachment of the network. A file that cannot be read is an error, not one attachment less. */
  list(network: string): CachedAttachment[] {
    if (!fs.existsSync(this.#directory)) return [];
    return fs
      .readdirSync(this.#directory)
      .filter((name) => name.startsWith(`${network}@`) && name.endsWith('.json'))
      .map((name) => path.join(this.#directory, name))
      .map((file) => parse(file, fs.readFileSync(file, 'utf8')));
  }

  /** No part may hold '@' but the interface's name, which comes last. */
  #file(network: string, { containerId, ifname }: Attachment): string {
    return path.join(this.#directory, `${network}@${containerId}@${ifname}.json`);
  }
}

function parse(file: string, text: string): CachedAttachment {
  try {
    const { version, ...entry } = JSON.parse(text) as CachedAttachment & { version: unknown };
    if (version !== 1) throw new Error(`version ${String(version)}`);
    if (!isContainerId(entry.containerId) || !isIfname(entry.ifname)) throw new Error('attachment');
    if (typeof entry.result !== 'object' || entry.result === null) throw new Error('result');
    return entry;
  } catch (cause) {
    throw new RuntimeError('cache-invalid', `${file} is no cached CNI result`, {
      value: file,
      cause,
    });
  }
}
