import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '@causeway/tables';
import type { StateKind } from '../keys.ts';
import type { Journal } from '../reader.ts';
import type { MeshTables } from '../rows.ts';
import { liveRecords } from './live.ts';
import { type KeptSummary, readRecords, summarize } from './read.ts';
import {
  contactRecord,
  deleteRecord,
  headerRecord,
  type KeptContact,
  type KeptRecord,
  putRecord,
  wholeRecord,
} from './records.ts';

/** Milliseconds from the first need of a new file to its writing: lists of one peer come together. */
const SETTLE_MS = 2000;
/** Milliseconds between contacts that are written. */
const CONTACT_MS = 10_000;
/** After a disk has failed. */
const RETRY_MS = 60_000;
/** Changes that wait for the disk; beyond it the file is written anew from what is known then. */
const MAX_PENDING = 16 * 1024 * 1024;
/** A log this long is never worth writing the file anew. */
const SLACK = 1024 * 1024;
const CHUNK = 64 * 1024;

export interface KeptPeerOptions {
  readonly path: string;
  readonly own: string;
  readonly peer: string;
  readonly tables: MeshTables;
  readonly clock: Clock;
  /** Ends what takes long. */
  readonly signal: AbortSignal;
}

/** What was kept of a peer, and may be put back. */
export interface KeptState extends KeptSummary {
  records(): AsyncGenerator<readonly KeptRecord[]>;
}

/**
 * One peer's state on the disk: the state as it stood once, and a log of what has changed since. Everything is
 * written by `step`, off the path of changes; `current` says up to when it is true. A file that is behind the
 * tables (a list that found them changed, a disk that was full) is written anew, and says no later contact until then.
 */
export class KeptPeer implements Journal {
  readonly #options: KeptPeerOptions;
  #file: FileHandle | undefined;
  #bytes = 0;
  #base = 0;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  /** The file is to be written anew, since then. */
  #due: number | undefined;
  #writing = false;
  #config: string | undefined;
  #writtenConfig: string | undefined;
  #contact: KeptContact | undefined;
  #written = 0;
  #dropped = false;
  #retryAt = 0;
  #problem: string | undefined;
  /** What was last asked of the disk: a peer that is made again finds its file while it is written. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: KeptPeerOptions) {
    this.#options = options;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  put(kind: StateKind, rest: string, value: Uint8Array): void {
    if (this.#takes) this.#append(putRecord(kind, rest, value));
  }

  delete(kind: StateKind, rest: string): void {
    if (this.#takes) this.#append(deleteRecord(kind, rest));
  }

  outdated(): void {
    if (this.#file !== undefined || this.#writing) this.#due ??= this.#options.clock.now();
  }

  /** What is to be written anew will have it. */
  get #takes(): boolean {
    return this.#writing || (this.#file !== undefined && this.#due === undefined);
  }

  #append(record: Buffer): void {
    this.#pending.push(record);
    this.#pendingBytes += record.length;
    if (this.#pendingBytes <= MAX_PENDING) return;
    this.#clear();
    this.#due ??= this.#options.clock.now();
  }

  #clear(): void {
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  /** All of the peer is known and followed. */
  current(contact: KeptContact, config: string): void {
    this.#contact = contact;
    this.#config = config;
    const fits = this.#file !== undefined && !this.#dropped && this.#writtenConfig === config;
    if (!fits && !this.#writing) this.#due ??= contact.at;
  }

  /** Nothing of the peer is in force any more. */
  drop(): void {
    this.#dropped = true;
    this.#contact = undefined;
    this.#due = undefined;
    this.#clear();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }

  /**
   * What an earlier run left, or this one before the peer went, if it is younger than `oldest`, milliseconds since the
   * epoch; what cannot be used is put aside. The file is this one's from now on.
   */
  find(oldest: number): Promise<KeptState | undefined> {
    return this.#inTurn(async () => {
      await this.#end();
      return this.#dropped ? undefined : await this.#find(oldest);
    });
  }

  async #find(oldest: number): Promise<KeptState | undefined> {
    const { path, own, peer } = this.#options;
    let file: FileHandle;
    try {
      file = await open(path, 'r+');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') await this.#refuse(error);
      return undefined;
    }
    try {
      const found = await summarize(file, own, peer);
      if (found.contact.at <= oldest) {
        await file.close();
        await rm(path, { force: true });
        return undefined;
      }
      // After what was not written to its end nothing could be appended.
      await file.truncate(found.end);
      this.#file = file;
      this.#bytes = found.end;
      this.#base = found.base;
      this.#writtenConfig = found.header.configText;
      this.#written = found.contact.at;
      return { ...found, records: () => batchesOf(file) };
    } catch (error) {
      await file.close().catch(() => {});
      await this.#refuse(error);
      return undefined;
    }
  }

  /** Puts the file aside. */
  refuse(error: unknown): Promise<void> {
    return this.#inTurn(() => this.#refuse(error));
  }

  async #refuse(error: unknown): Promise<void> {
    const { path } = this.#options;
    const reason = error instanceof Error ? error.message : String(error);
    await this.#close();
    try {
      await rename(path, `${path}.refused`);
      this.#problem = `${reason}; it was put aside as ${path}.refused`;
    } catch {
      this.#problem = `${path}: ${reason}`;
    }
  }

  /** Whether `step` may have something to do. */
  waits(now: number): boolean {
    if (this.#dropped || this.#pending.length > 0 || this.#tooLong) return true;
    return this.#due !== undefined
      ? now >= Math.max(this.#due + SETTLE_MS, this.#retryAt)
      : this.#told;
  }

  get #tooLong(): boolean {
    return this.#bytes > 2 * this.#base + SLACK;
  }

  /** The last contact is so much later than the written one that it is to be written. */
  get #told(): boolean {
    const contact = this.#contact;
    return contact !== undefined && contact.at - this.#written >= CONTACT_MS;
  }

  /** Writes what there is to write; never throws. */
  step(now: number): Promise<void> {
    return this.#inTurn(() => this.#step(now));
  }

  async #step(now: number): Promise<void> {
    try {
      if (this.#dropped) await this.#remove();
      if (this.#tooLong) this.#due ??= now;
      const due = this.#due !== undefined && this.#contact !== undefined;
      if (due && now >= Math.max(this.#due! + SETTLE_MS, this.#retryAt)) await this.#writeAnew();
      else await this.#flush();
    } catch (error) {
      this.#problem = `${this.#options.path}: ${error instanceof Error ? error.message : String(error)}`;
      this.#retryAt = now + RETRY_MS;
      this.#due = now;
      this.#clear();
      // Half a record may be in it.
      await this.#remove().catch(() => {});
    }
  }

  async #flush(): Promise<void> {
    const file = this.#file;
    if (file === undefined || this.#due !== undefined) return;
    if (this.#pending.length === 0 && !this.#told) return;
    await this.#write(file, this.#contact);
  }

  async #write(file: FileHandle, contact: KeptContact | undefined): Promise<void> {
    const pending = this.#pending;
    this.#clear();
    // The changes up to the contact stand before it.
    if (contact !== undefined && contact.at > this.#written) {
      pending.push(contactRecord(contact));
      this.#written = contact.at;
    }
    this.#bytes += await append(file, pending, this.#bytes);
  }

  /** Beside the old file, which counts until the new one is whole and on the disk. */
  async #writeAnew(): Promise<void> {
    const { path, own, peer, tables, signal } = this.#options;
    const config = this.#config!;
    const contact = this.#contact!;
    const due = this.#due;
    // What is outdated while it is written is due anew.
    this.#due = undefined;
    this.#clear();
    this.#writing = true;
    const next = `${path}.new`;
    let file: FileHandle | undefined;
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      file = await open(next, 'w', 0o600);
      let bytes = await append(file, [headerRecord(own, peer, config)], 0);
      let chunk: Buffer[] = [];
      let size = 0;
      for (const record of liveRecords(tables, peer)) {
        chunk.push(record);
        size += record.length;
        if (size < CHUNK) continue;
        bytes += await append(file, chunk, bytes);
        chunk = [];
        size = 0;
        if (this.#dropped || signal.aborted) return;
      }
      bytes += await append(file, [...chunk, wholeRecord(), contactRecord(contact)], bytes);
      await file.datasync();
      await rename(next, path);
      await this.#file?.close();
      this.#file = file;
      this.#base = bytes;
      this.#bytes = bytes;
      this.#written = contact.at;
      this.#writtenConfig = config;
      this.#problem = undefined;
    } finally {
      this.#writing = false;
      if (file !== this.#file) {
        // The old file is as far behind as before; of what was dropped nothing is due.
        if (!this.#dropped) this.#due ??= due;
        await file?.close();
        await rm(next, { force: true });
      }
    }
  }

  async #remove(): Promise<void> {
    await this.#close();
    await rm(this.#options.path, { force: true });
    this.#dropped = false;
  }

  async #close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    this.#bytes = 0;
    this.#base = 0;
    await file?.close();
  }

  /** Writes the last changes and the last contact; the file stays for the next run. */
  close(): Promise<void> {
    return this.#inTurn(() => this.#end());
  }

  async #end(): Promise<void> {
    try {
      if (this.#dropped) return await this.#remove();
      const file = this.#file;
      if (file !== undefined && this.#due === undefined) await this.#write(file, this.#contact);
    } catch {
      // What the next run cannot use it puts aside; this one knows that the file is behind.
      this.#due ??= this.#options.clock.now();
    }
    await this.#close().catch(() => {});
  }
}

async function* batchesOf(file: FileHandle): AsyncGenerator<readonly KeptRecord[]> {
  for await (const { records } of readRecords(file)) yield records;
}

async function append(file: FileHandle, records: readonly Buffer[], at: number): Promise<number> {
  if (records.length === 0) return 0;
  const bytes = Buffer.concat(records);
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
  return bytes.length;
}
