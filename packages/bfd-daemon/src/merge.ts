import type { AuthKey, Micros, SessionSpec } from '@causeway/bfd';
import { BfdDaemonError } from './errors.ts';

/**
 * The sessions of all owners as one set. A session that several want is one session on the wire, so
 * it is made as strict as the strictest wants it: the shortest intervals, the least multiplier, the
 * highest TTL; held down if one of them holds it down. Only about keys there is no middle.
 * @throws BfdDaemonError `conflict`.
 */
export function mergeOwners(
  owners: ReadonlyMap<string, ReadonlyMap<string, SessionSpec>>,
): Map<string, SessionSpec> {
  const merged = new Map<string, { spec: SessionSpec; owner: string }>();
  for (const [owner, specs] of owners)
    for (const [key, spec] of specs) {
      const known = merged.get(key);
      merged.set(key, {
        owner,
        spec: known === undefined ? spec : stricter(known.spec, spec, key, [known.owner, owner]),
      });
    }
  return new Map([...merged].map(([key, { spec }]) => [key, spec]));
}

const least = (a: Micros, b: Micros): Micros => (a < b ? a : b);

function stricter(
  a: SessionSpec,
  b: SessionSpec,
  key: string,
  owners: readonly [string, string],
): SessionSpec {
  if (keyText(a.auth) !== keyText(b.auth))
    throw new BfdDaemonError(
      'conflict',
      `${owners[0]} and ${owners[1]} both want ${key}, but with different authentication`,
      { field: 'auth', value: key, hint: 'give both the same type, key ID and key' },
    );
  const minTtl = Math.max(a.minTtl ?? 0, b.minTtl ?? 0);
  return {
    ...a,
    desiredMinTx: least(a.desiredMinTx, b.desiredMinTx),
    requiredMinRx: least(a.requiredMinRx, b.requiredMinRx),
    multiplier: Math.min(a.multiplier, b.multiplier),
    ...(minTtl === 0 ? {} : { minTtl }),
    adminDown: a.adminDown === true || b.adminDown === true,
  };
}

const keyText = (auth: AuthKey | undefined): string =>
  auth === undefined
    ? ''
    : [auth, auth.alsoAccept]
        .map((one) => `${one?.keyId} ${one?.key.join()}`)
        .join(` ${auth.type} `);
