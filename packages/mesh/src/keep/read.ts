import type { FileHandle } from 'node:fs/promises';
import {
  bad,
  decodeRecord,
  type KeptContact,
  type KeptHeader,
  type KeptRecord,
  lengthOf,
} from './records.ts';

const CHUNK = 256 * 1024;

/** What a file is worth, without anything of it in force yet. */
export interface KeptSummary {
  readonly header: KeptHeader;
  /** The last one, after which changes may still follow. */
  readonly contact: KeptContact;
  /** Bytes that the state at the file's beginning takes. */
  readonly base: number;
  /** Bytes of whole records; what follows was not written to its end. */
  readonly end: number;
}

/**
 * Reads a file from its beginning, a batch of records after the other. A last record that is not all there is left
 * out: its writer was killed. Throws MeshError `bad-kept-state` for everything else that no writer of ours leaves.
 */
export async function* readRecords(
  file: FileHandle,
): AsyncGenerator<{ readonly records: readonly KeptRecord[]; readonly ends: readonly number[] }> {
  let rest: Buffer = Buffer.alloc(0);
  let at = 0;
  for (let position = 0; ; ) {
    // Records point into it: each chunk has memory of its own.
    const chunk = Buffer.allocUnsafeSlow(CHUNK);
    const { bytesRead } = await file.read(chunk, 0, CHUNK, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    let bytes = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
    const records: KeptRecord[] = [];
    const ends: number[] = [];
    for (let length = lengthOf(bytes); length !== undefined; length = lengthOf(bytes)) {
      if (bytes.length < length) break;
      records.push(decodeRecord(bytes.subarray(0, length)));
      bytes = bytes.subarray(length);
      at += length;
      ends.push(at);
    }
    rest = bytes;
    if (records.length > 0) yield { records, ends };
  }
}

/** Looks through a whole file before any of it counts. Throws MeshError `bad-kept-state`. */
export async function summarize(file: FileHandle, own: string, peer: string): Promise<KeptSummary> {
  let header: KeptHeader | undefined;
  let contact: KeptContact | undefined;
  let base = 0;
  let end = 0;
  for await (const { records, ends } of readRecords(file)) {
    for (const [i, record] of records.entries()) {
      end = ends[i]!;
      if (header === undefined) {
        if (record.type !== 'header') throw bad('it does not begin with a header');
        ({ header } = record);
      } else if (record.type === 'header') throw bad('a header in its middle');
      if (record.type === 'contact') ({ contact } = record);
      if (record.type === 'whole') base = end;
    }
  }
  if (header === undefined) throw bad('it is empty');
  if (header.own !== own || header.peer !== peer) {
    throw bad(`it is what ${header.own} knew of ${header.peer}, not ${own} of ${peer}`);
  }
  if (base === 0 || contact === undefined) throw bad('it is cut off before its state is whole');
  return { header, contact, base, end };
}
