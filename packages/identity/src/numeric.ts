import { IdentityError } from './errors.ts';

declare const brand: unique symbol;

/** A security identity as maps, VNI and store carry it: 32 bits, the scope in the top 8. */
export type NumericIdentity = number & { readonly [brand]: 'NumericIdentity' };

/** 1..511; 0 is "no mesh". */
export type ClusterId = number & { readonly [brand]: 'ClusterId' };

export function NumericIdentity(value: number): NumericIdentity {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
    throw new IdentityError(
      'bad-identity',
      `identity ${String(value)} is not an integer of 32 bits`,
      value,
    );
  }
  return value as NumericIdentity;
}

export function ClusterId(value: number): ClusterId {
  if (!Number.isInteger(value) || value < 0 || value > 511) {
    throw new IdentityError('bad-cluster', `cluster id ${String(value)} is not in 0..511`, value);
  }
  return value as ClusterId;
}

/** Scopes 1 and 2 belong to one node and never enter the store or a VNI. */
export const SCOPE = Object.freeze({
  global: 0,
  localCidr: 0x0100_0000,
  remoteNode: 0x0200_0000,
});

export type IdentityScope = 'global' | 'local-cidr' | 'remote-node' | 'unknown';

export function scopeOf(id: NumericIdentity): IdentityScope {
  const scope = id >>> 24;
  if (scope === 0) return 'global';
  if (scope === 1) return 'local-cidr';
  return scope === 2 ? 'remote-node' : 'unknown';
}

/** Below this number identities mean the same in every cluster. */
export const FIRST_ALLOCATED_IDENTITY = 256;

export const isReserved = (id: NumericIdentity): boolean => id < FIRST_ALLOCATED_IDENTITY;

/** How the 24 global bits divide into cluster and local part; one value for a whole mesh. */
export interface IdentityLayout {
  readonly maxConnectedClusters: 255 | 511;
  /** Bits of the local part: 16 or 15. */
  readonly shift: number;
  clusterOf(id: NumericIdentity): ClusterId;
  /** First and last identity that a reader takes from this cluster. */
  range(cluster: ClusterId): { readonly min: NumericIdentity; readonly max: NumericIdentity };
  /** First and last identity that an allocator gives: the local part starts at 256 everywhere. */
  allocationRange(cluster: ClusterId): {
    readonly min: NumericIdentity;
    readonly max: NumericIdentity;
  };
  /** Global scope, and in the cluster's range. */
  contains(cluster: ClusterId, id: NumericIdentity): boolean;
}

export function identityLayout(maxConnectedClusters: 255 | 511 = 255): IdentityLayout {
  if (maxConnectedClusters !== 255 && maxConnectedClusters !== 511) {
    throw new IdentityError(
      'bad-cluster',
      `maxConnectedClusters ${String(maxConnectedClusters)} is neither 255 nor 511`,
      maxConnectedClusters,
      'maxConnectedClusters',
    );
  }
  const shift = maxConnectedClusters === 255 ? 16 : 15;
  const check = (cluster: ClusterId): void => {
    if (cluster > maxConnectedClusters) {
      throw new IdentityError(
        'bad-cluster',
        `cluster id ${cluster} is above ${maxConnectedClusters}`,
        cluster,
      );
    }
  };
  const range = (cluster: ClusterId) => {
    check(cluster);
    const base = cluster << shift;
    return {
      min: NumericIdentity(cluster === 0 ? FIRST_ALLOCATED_IDENTITY : base),
      max: NumericIdentity(base + (1 << shift) - 1),
    };
  };
  return {
    maxConnectedClusters,
    shift,
    clusterOf: (id) => ClusterId((id & 0x00ff_ffff) >>> shift),
    range,
    allocationRange(cluster) {
      check(cluster);
      const base = cluster << shift;
      return {
        min: NumericIdentity(base + FIRST_ALLOCATED_IDENTITY),
        max: NumericIdentity(base + (1 << shift) - 1),
      };
    },
    contains(cluster, id) {
      const { min, max } = range(cluster);
      return id >= min && id <= max;
    },
  };
}
