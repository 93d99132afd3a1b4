import { BgpError } from '../errors.ts';
import { PolicyBinder } from '../policy/bound.ts';
import type { CompiledPolicy } from '../policy/compile.ts';
import type { PolicyReason } from '../policy/types.ts';
import { AttributeWriter, prependPath } from '../rib/attribute-bytes.ts';
import { AttributeTable } from '../rib/attribute-table.ts';
import { NextHopTable } from '../rib/next-hops.ts';
import { PeerColumns, PeerKind } from '../rib/peer-columns.ts';
import { fieldsOf } from '../rib/prefix-table.ts';
import { Rib } from '../rib/rib.ts';
import type { Asn, FamilyKey } from '../types.ts';
import { AttributeType } from '../wire/attribute-table.ts';
import { hashBytes } from '../wire/hash.ts';
import type { TestRoute } from './api.ts';
import { LocalPaths } from './locals.ts';
import type { SpeakerPeer } from './peer.ts';
import { pathRow } from './rows.ts';
import type { RouteRow } from './types.ts';

/** Runs a policy over a route that exists nowhere else: in tables of its own. */
export function testPolicy(
  policy: CompiledPolicy,
  route: TestRoute,
  localAsn: Asn,
  peer: SpeakerPeer | undefined,
): { readonly reason: PolicyReason; readonly result?: RouteRow } {
  const sets = new AttributeTable(new NextHopTable());
  const columns = new PeerColumns();
  const ribs = {
    'ipv4-unicast': new Rib('ipv4-unicast', sets, columns),
    'ipv6-unicast': new Rib('ipv6-unicast', sets, columns),
  };
  const locals = new LocalPaths(ribs);
  const { asPath = [], ...attributes } = route.attributes;
  locals.set('test', [{ ...attributes, prefix: route.prefix }]);
  const fields = fieldsOf(route.prefix);
  const family: FamilyKey = fields.bits === 32 ? 'ipv4-unicast' : 'ipv6-unicast';
  const rib = ribs[family];
  const prefix = rib.prefixes.find(fields.length, fields.w0, fields.w1, fields.w2, fields.w3);
  const path = rib.head[prefix]!;
  let set = rib.paths.received[path]!;
  if (asPath.length > 0) {
    if (
      asPath.length > 255 ||
      asPath.some((asn) => !Number.isInteger(asn) || asn < 1 || asn > 0xffff_ffff)
    ) {
      throw new BgpError('invalid-config', 'asPath: up to 255 AS numbers', { value: asPath });
    }
    let value: Uint8Array = new Uint8Array(0);
    for (const asn of asPath.toReversed()) value = prependPath(value, asn, 1);
    const bytes = new AttributeWriter().edit(sets.bytes, sets.start(set), sets.end(set), [
      { type: AttributeType.asPath, flags: 0x40, value },
    ]);
    set = sets.intern(
      bytes,
      0,
      bytes.length,
      hashBytes(bytes, 0, bytes.length),
      sets.nextHop[set]!,
    );
  }
  const kind =
    peer === undefined
      ? PeerKind.local
      : peer.config.asn === 'internal' || peer.config.asn === localAsn
        ? PeerKind.ibgp
        : PeerKind.ebgp;
  const neighborAsn =
    peer?.negotiated?.peerAsn ?? (typeof peer?.config.asn === 'number' ? peer.config.asn : 0);
  const bound = new PolicyBinder(sets).bind(policy, {
    family,
    neighbor: peer?.name ?? '',
    neighborAsn,
    localAsn: peer?.config.localAsn ?? localAsn,
  });
  const reason = bound.explain(set, fields, kind, attributes.tag);
  const result = bound.run(set, fields, kind, attributes.tag);
  if (result === 0) return { reason };
  rib.reconsider(path, result, 0);
  return { reason, result: pathRow(rib, path, 'accepted', { columns, locals }) };
}
