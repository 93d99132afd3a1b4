import { Address, type Family } from '@causeway/ip';
import type { PoolSet } from './cidrs.ts';
import { IpamError, type IpamErrorCode } from './errors.ts';
import type { Held, Holdings } from './holdings.ts';
import { ownerKey } from './owner.ts';
import type { Choice, Pool } from './pool.ts';
import type { AddressRequest, FamilyRequest } from './types.ts';

/** What a choice depends on. */
export interface ChoiceContext {
  readonly pools: PoolSet;
  readonly holdings: Holdings;
  readonly choice: Choice;
  readonly drainingAsLastResort: boolean;
  /** How much of its quarantine an address is spared where nothing else is left, in milliseconds. */
  readonly earlyMs: number;
  readonly now: number;
}

/** The request of one family in its long form; undefined where the family is not wanted. */
export function familyRequest(request: AddressRequest, family: Family): FamilyRequest | undefined {
  const wanted = request[family];
  if (wanted === undefined) return undefined;
  if (wanted === 'any') return {};
  return typeof wanted === 'object' && wanted !== null ? wanted : { address: wanted };
}

/** An address that can be given, not yet taken. Throws IpamError with the reason why there is none. */
export function choose(context: ChoiceContext, family: Family, wanted: FamilyRequest): Held {
  return wanted.address === undefined
    ? chooseAny(context, family, wanted.pool)
    : chooseNamed(context, family, wanted.address, wanted);
}

function chooseAny(
  { pools: all, choice, drainingAsLastResort, earlyMs, now }: ChoiceContext,
  family: Family,
  name: string | null | undefined,
): Held {
  const pools = [...all].filter(
    (pool) =>
      pool.layout.family === family &&
      !pool.leaving &&
      (name === undefined || (pool.name ?? null) === name),
  );
  const open = pools.filter((pool) => !pool.draining && pool.usable);
  open.push(...pools.filter((pool) => !pool.draining && !pool.usable));
  if (drainingAsLastResort) open.push(...pools.filter((pool) => pool.draining));
  const held = (pool: Pool, offset: bigint): Held => ({
    address: pool.layout.addressAt(offset),
    at: { pool, offset },
  });
  for (const pool of open) {
    const offset = pool.candidate(choice);
    if (offset !== undefined) return held(pool, offset);
  }
  for (const pool of open) {
    const offset = pool.rested(now + earlyMs);
    if (offset !== undefined) return held(pool, offset);
  }
  const which = typeof name === 'string' ? ` of pool ${name}` : '';
  if (open.length === 0) {
    throw new IpamError(
      'no-cidr',
      `the node has no ${family} pod CIDR${which} that gives addresses`,
      {
        field: family,
        value: pools.map((pool) => pool.layout.prefix),
        hint: `give the node an ${family} pod CIDR${which} that is not draining`,
      },
    );
  }
  const ends = open.flatMap((pool) => {
    const first = pool.held()[Symbol.iterator]().next();
    return first.done ? [] : [first.value[1]];
  });
  throw new IpamError('exhausted', `no ${family} address${which} is free on the node`, {
    field: family,
    value: open.map((pool) => pool.layout.prefix),
    hint:
      ends.length === 0
        ? `give the node another pod CIDR${which}`
        : 'wait for an address in quarantine',
    ...(ends.length === 0 ? {} : { retryAfterMs: Math.max(0, Math.min(...ends) - earlyMs - now) }),
  });
}

function chooseNamed(
  { pools, holdings, drainingAsLastResort, now }: ChoiceContext,
  family: Family,
  address: Address,
  { pool: name, claimed = false }: FamilyRequest,
): Held {
  const refuse = (code: IpamErrorCode, why: string, hint: string, retryAfterMs?: number) =>
    new IpamError(code, `${address} ${why}`, {
      field: family,
      value: address,
      hint,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  if (typeof address !== 'string' || !Address.is(address) || Address.family(address) !== family) {
    const hint = `give an ${family} address or "any"`;
    throw refuse('request-invalid', `is not an ${family} address`, hint);
  }
  const holder = holdings.at(address);
  if (holder !== undefined) {
    const why = `is held by ${ownerKey(holder.owner)}`;
    throw refuse('address-taken', why, 'ask for another address');
  }
  const at = pools.find(address);
  if (at?.pool.isReserved(at.offset)) {
    throw refuse('address-reserved', 'is reserved in its CIDR', 'ask for another address');
  }
  const foreign = name !== undefined && at !== undefined && (at.pool.name ?? null) !== name;
  if (claimed) return { address, at };
  if (at === undefined || at.pool.leaving || foreign) {
    const where = foreign ? `is of pool ${at.pool.name ?? '(none)'}` : 'is in no pod CIDR';
    throw refuse('address-outside', `${where} of this node`, 'ask for an address of the node');
  }
  const { pool, offset } = at;
  if (pool.draining && !drainingAsLastResort) {
    throw refuse(
      'cidr-draining',
      `is in ${pool.layout.prefix}, which is draining`,
      'ask for "any"',
    );
  }
  if (pool.isKept(offset)) {
    throw refuse('address-claimed', 'is kept for its claim', 'ask for another address');
  }
  const until = pool.heldUntil(offset);
  if (until !== undefined) {
    throw refuse('address-quarantined', 'was released a moment ago', 'wait', until - now);
  }
  if (!pool.isFree(offset)) {
    throw refuse('address-taken', 'belongs to a CIDR that is leaving', 'ask for another address');
  }
  return { address, at };
}
