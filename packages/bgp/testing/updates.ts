import {
  decodeAttributes,
  type NlriBlock,
  NlriCursor,
  type ParsedUpdate,
  prefixOf,
} from '../index.ts';
import { toHex } from './bytes.ts';

/** `10.0.0.0/8`, with `#7` behind it for a path identifier. */
export function prefixesOf(block: NlriBlock): string[] {
  const cursor = new NlriCursor();
  const list: string[] = [];
  cursor.reset(block);
  while (cursor.next()) {
    list.push(`${prefixOf(cursor)}${block.addPath ? `#${cursor.pathId >>> 0}` : ''}`);
  }
  return list;
}

/** Everything that an UPDATE says, as plain values to compare. */
export function readable(update: ParsedUpdate) {
  const announced = update.announced.map((block) => ({
    family: block.family,
    prefixes: prefixesOf(block),
    nextHop: toHex(
      block.bytes.subarray(block.nextHopStart, block.nextHopStart + block.nextHopLength),
    ),
  }));
  const withdrawn = update.withdrawn.map((block) => ({
    family: block.family,
    prefixes: prefixesOf(block),
  }));
  const { attributeBytes, attributesStart, attributesEnd, endOfRib, problem } = update;
  return {
    ...(announced.length === 0
      ? {}
      : {
          announced,
          attributes: decodeAttributes(attributeBytes, attributesStart, attributesEnd),
        }),
    ...(withdrawn.length === 0 ? {} : { withdrawn }),
    ...(endOfRib === undefined ? {} : { endOfRib }),
    ...(problem === undefined ? {} : { problem: `${problem.action} ${problem.reason}` }),
  };
}

/** The canonical attributes. */
export function attributesOf(update: ParsedUpdate): Uint8Array {
  return update.attributeBytes.slice(update.attributesStart, update.attributesEnd);
}
