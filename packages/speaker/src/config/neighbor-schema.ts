import { absolutePath } from '@causeway/daemon/fields';
import { z } from 'zod';
import {
  address,
  asn,
  asnOr,
  cidr,
  family,
  interfaceName,
  name,
  port,
  routerId,
  seconds,
} from './fields.ts';

const familySchema = z.strictObject({
  family,
  /** RFC 7911. `send`: most paths per prefix; 0: only the best, without identifiers. */
  addPath: z
    .strictObject({
      receive: z.boolean().default(false),
      send: z.int().min(0).max(255).default(0),
    })
    .exactOptional(),
  maxPrefixes: z
    .strictObject({
      limit: z.int().min(1).max(100_000_000),
      /** Per cent of the limit. */
      warnAt: z.int().min(1).max(100).exactOptional(),
      action: z.enum(['warn', 'reset', 'refuse']),
      /** Seconds until a session that fell for it starts again. Default: it stays down until reset. */
      restartAfter: seconds(1, 86_400).exactOptional(),
    })
    .exactOptional(),
  /** Policies. Without them, external neighbours exchange nothing (RFC 8212), internal ones everything. */
  import: name.exactOptional(),
  export: name.exactOptional(),
  nextHop: z.enum(['self', 'unchanged']).exactOptional(),
  /** Long-lived graceful restart (RFC 9494), seconds that we ask for. */
  llgr: z.int().min(0).max(16_777_215).exactOptional(),
});

const target = z.union([
  z.strictObject({
    address,
    /** For a link-local address. */ interface: interfaceName.exactOptional(),
  }),
  /** Unnumbered: the one router that is on this link. */
  z.strictObject({ interface: interfaceName }),
  /** Whoever the kernel's default route goes to. */
  z.strictObject({ defaultGateway: z.enum(['ipv4', 'ipv6']) }),
]);

const timers = z.strictObject({
  /** 0: no keep-alives, no hold timer. */
  hold: z
    .int()
    .max(65_535)
    .refine((value) => value === 0 || value >= 3, 'must be 0 or 3 to 65535')
    .exactOptional(),
  keepalive: seconds(1, 21_845).exactOptional(),
  connectRetry: seconds(1, 65_535).exactOptional(),
  delayOpen: seconds(0, 3600).exactOptional(),
  /** Longest wait for the neighbour's OPEN. Default 240; in a range, where anybody may connect, 30. */
  open: seconds(1, 3600).exactOptional(),
  idleHold: seconds(0.1, 3600).exactOptional(),
});

const bfdKey = { keyId: z.int().min(0).max(255), key: z.string().min(1).max(20) };

const bfd = z.strictObject({
  intervalMs: z.int().min(10).max(60_000).default(300),
  multiplier: z.int().min(1).max(255).default(3),
  /** Default: when the neighbour is more than one hop away by ttlSecurity or multihopTtl. */
  multihop: z.boolean().exactOptional(),
  /** No session before BFD is up. */
  strict: z.boolean().default(false),
  auth: z
    .strictObject({
      type: z.enum([
        'simple',
        'keyed-md5',
        'meticulous-keyed-md5',
        'keyed-sha1',
        'meticulous-keyed-sha1',
      ]),
      ...bfdKey,
      /** Taken from the neighbour as well, while keys are changed: the next one, or the one before. */
      alsoAccept: z.strictObject(bfdKey).exactOptional(),
    })
    .exactOptional(),
});

/** What a neighbour and the template of dynamic ones share. */
const common = {
  localAsn: asn.exactOptional(),
  /** The router id that this neighbour hears. */
  localRouterId: routerId.exactOptional(),
  localAddress: address.exactOptional(),
  /** TCP MD5 (RFC 2385). Never given back by the API. */
  password: z.string().min(1).max(80).exactOptional(),
  /** A file with the password alone; a line's end does not count. */
  passwordFile: absolutePath.exactOptional(),
  /** RFC 5082: hops that the neighbour's packets may have made. */
  ttlSecurity: z.int().min(1).max(254).exactOptional(),
  multihopTtl: z.int().min(1).max(255).exactOptional(),
  timers: timers.exactOptional(),
  families: z
    .array(familySchema)
    .min(1)
    .max(2)
    .refine(
      (list) => new Set(list.map(({ family: each }) => each)).size === list.length,
      'must not name a family twice',
    ),
  extendedNextHop: z.boolean().exactOptional(),
  extendedMessages: z.boolean().exactOptional(),
  routeReflectorClient: z.boolean().exactOptional(),
  /** `false`: none towards this neighbour. Default: as the speaker's own setting says. */
  gracefulRestart: z
    .union([
      z.literal(false),
      z.strictObject({
        /** Keep its routes while it restarts. */
        helper: z.boolean().exactOptional(),
        restartTime: z.int().min(1).max(4095).exactOptional(),
        /** RFC 8538. */
        notification: z.boolean().exactOptional(),
      }),
    ])
    .exactOptional(),
  bfd: bfd.exactOptional(),
  description: z.string().max(1024).exactOptional(),
};

export const neighborSchema = z.strictObject({
  name,
  peer: target,
  port: port.exactOptional(),
  asn: asnOr('internal', 'external', 'any'),
  passive: z.boolean().exactOptional(),
  adminDown: z.boolean().exactOptional(),
  ...common,
});

export const dynamicNeighborSchema = z.strictObject({
  name,
  /** Sources from which connections are taken. */
  prefix: cidr,
  asns: z.union([z.enum(['any', 'internal', 'external']), z.array(asn).min(1).max(1000)]),
  /** Most neighbours at once from this range. */
  limit: z.int().min(1).max(65_535).default(1000),
  template: z.strictObject(common),
});

export type NeighborConfig = z.output<typeof neighborSchema>;
export type DynamicNeighborConfig = z.output<typeof dynamicNeighborSchema>;
export type SessionSettings = DynamicNeighborConfig['template'];
