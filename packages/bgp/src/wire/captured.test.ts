// Golden frames that BIRD 2.0.12, FRR 8.4, GoBGP 3.10, ExaBGP 4.2 and OpenBGPD 7.7 sent to a client that understood
// everything (packages/speaker/testing/capture-frames.ts records them again): what they announce is known.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { FamilyKey } from '../types.ts';
import { formatAsPath } from './as-path.ts';
import { decodeAttributes, encodeAttributes } from './attribute-codec.ts';
import { Community, ExtendedCommunity, LargeCommunity } from './communities.ts';
import { NlriCursor, prefixOf } from './nlri.ts';
import { decodeNotification, shutdownText } from './notification.ts';
import { decodeOpen, encodeOpen } from './open.ts';
import { decodeRouteRefresh, encodeRouteRefresh } from './route-refresh.ts';
import type { NlriBlock } from './update.ts';
import { UpdateParser } from './update-parser.ts';

interface Captured {
  readonly router: string;
  readonly session: string;
  readonly context: { readonly fourOctetAs: boolean; readonly addPath: boolean };
  readonly frames: readonly string[];
}

const captured = JSON.parse(
  readFileSync(join(import.meta.dirname, 'testdata/captured.json'), 'utf8'),
) as Captured[];
const families: readonly FamilyKey[] = ['ipv4-unicast', 'ipv6-unicast'];

function prefixes(blocks: readonly NlriBlock[]): string[] {
  const cursor = new NlriCursor();
  return blocks.flatMap((block) => {
    const found: string[] = [];
    cursor.reset(block);
    while (cursor.next()) found.push(String(prefixOf(cursor)));
    return found;
  });
}

for (const { router, session, context, frames } of captured)
  test(`${router}, session ${session}: every frame is understood`, () => {
    const parser = new UpdateParser({
      fourOctetAs: context.fourOctetAs,
      families,
      addPath: context.addPath ? families : [],
      external: true,
    });
    const seen = new Map<string, string>();
    const withdrawn: string[] = [];
    let opens = 0;
    for (const hex of frames) {
      const frame = Buffer.from(hex, 'hex');
      const body = Uint8Array.from(frame.subarray(19));
      switch (frame[18]) {
        case 1: {
          const open = decodeOpen(body);
          assert.ok(open.holdTime === 90 || open.holdTime === 240);
          // Ours may put the capabilities in one parameter; what they say stays the same.
          assert.deepEqual(decodeOpen(Uint8Array.from(encodeOpen(open).subarray(19))), open);
          opens += 1;
          break;
        }
        case 2: {
          const update = parser.parse(body);
          assert.equal(update.problem, undefined, `${hex}: ${JSON.stringify(update.problem)}`);
          withdrawn.push(...prefixes(update.withdrawn));
          if (update.announced.length === 0) break;
          const bytes = update.attributeBytes.slice(update.attributesStart, update.attributesEnd);
          const attributes = decodeAttributes(bytes);
          assert.deepEqual(encodeAttributes(attributes), bytes);
          const text = [
            formatAsPath(attributes.asPath),
            `med ${attributes.med}`,
            ...(attributes.communities ?? []).map(Community.format),
            ...(attributes.largeCommunities ?? []).map(LargeCommunity.format),
            ...(attributes.extendedCommunities ?? []).map(ExtendedCommunity.format),
          ].join(' ');
          for (const prefix of prefixes(update.announced)) seen.set(prefix, text);
          break;
        }
        case 3: {
          const notification = decodeNotification(body);
          // FRR told to write its OPEN in the form of RFC 9072 takes no other from us.
          if (notification.code === 2) break;
          assert.equal(notification.code, 6);
          assert.equal(notification.subcode, 2);
          assert.ok(
            ['maintenance of the spine', 'Administrative Shutdown'].includes(
              shutdownText(notification) ?? '',
            ),
          );
          break;
        }
        case 4:
          assert.equal(body.length, 0);
          break;
        case 5: {
          const refresh = decodeRouteRefresh(body);
          assert.ok(refresh !== undefined);
          assert.deepEqual(Uint8Array.from(encodeRouteRefresh(refresh).subarray(19)), body);
          break;
        }
        default:
          assert.fail(`a message of type ${frame[18]}`);
      }
    }
    assert.equal(opens, 1);
    if (seen.size === 0) return;
    const attributes = 'med 50 65020:1 65020:2 65020:1:2 rt:65020:100';
    const has = (prefix: string): string | undefined => seen.get(prefix)?.replace(' 65020:99', '');
    assert.equal(has('203.0.113.0/24'), `65020 ${attributes}`);
    assert.ok(withdrawn.includes('203.0.115.0/24'));
    if (router !== 'OpenBGPD')
      assert.equal(has('203.0.114.0/24'), `65020 4200000999 ${attributes}`);
    // FRR without capabilities has one family.
    if (router === 'FRR' && session === 'old') return;
    assert.equal(has('2001:db8:113::/48'), `65020 ${attributes}`);
    assert.ok(withdrawn.includes('2001:db8:115::/48'));
  });
