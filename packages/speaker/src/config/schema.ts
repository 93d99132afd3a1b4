import { absolutePath } from '@causeway/daemon/fields';
import { z } from 'zod';
import { address, asn, cidr, name, port, routerId, seconds } from './fields.ts';
import { dynamicNeighborSchema, neighborSchema } from './neighbor-schema.ts';
import { libraryFields } from './policy-schema.ts';

export const MOST_NEIGHBORS = 10_000;

const paths = z.int().min(1).max(255);

const kernel = z.strictObject({
  /**
   * `none`: learned routes stay here. `all`. `prefixes`: those inside `prefixes`. `same-rack`: those whose next
   * hop is a neighbour on a link of ours and not the router that told us; the rest goes the default route.
   */
  mode: z.enum(['none', 'all', 'prefixes', 'same-rack']).default('none'),
  /** Needed with `prefixes`; in other modes it narrows what is installed. */
  prefixes: z.array(cidr).max(10_000).exactOptional(),
  /** Default: main. */
  table: z.int().min(1).max(0xffff_ffff).default(254),
  /** Routes with a lower metric win. */
  metric: z.int().min(1).max(0xffff_ffff).default(512),
});

const bmpStation = z.strictObject({
  /** Default: `address:port`. */
  name: name.exactOptional(),
  address,
  port: port.default(11_019),
  localAddress: address.exactOptional(),
  /** Which tables are sent. Default: what is received, before and after policy. */
  views: z
    .array(z.enum(['in-pre', 'in-post', 'out-pre', 'out-post', 'loc']))
    .min(1)
    .max(5)
    .exactOptional(),
  /** Seconds between statistics; 0: none. */
  statisticsInterval: seconds(0, 86_400).exactOptional(),
  /** Pauses between attempts to connect, seconds. */
  reconnect: z
    .strictObject({ first: seconds(0.1, 3600), longest: seconds(0.1, 3600) })
    .exactOptional(),
  /** Seconds without progress after which a station that does not read is left. */
  stallTimeout: seconds(1, 3600).exactOptional(),
});

/** The whole wanted configuration of one owner. What several owners want is put together (`merge.ts`). */
export const speakerConfigSchema = z.strictObject({
  asn: asn.exactOptional(),
  routerId: routerId.exactOptional(),
  /** Default: the router id (RFC 4456 section 7). */
  clusterId: routerId.exactOptional(),
  /** Default: port 179 of every address. An empty list: no connections are taken. */
  listen: z
    .array(z.strictObject({ address, port: port.default(179) }))
    .max(64)
    .exactOptional(),
  /** Given: graceful restart towards every neighbour that does not say otherwise. */
  gracefulRestart: z
    .strictObject({
      /** How long our restart may take, seconds. */
      restartTime: z.int().min(1).max(4095).exactOptional(),
      /** Longest wait for End-of-RIB after our restart, seconds. */
      deferral: seconds(0, 3600).exactOptional(),
    })
    .exactOptional(),
  multipath: z
    .strictObject({
      ebgp: paths.exactOptional(),
      ibgp: paths.exactOptional(),
      sameAsPath: z.boolean().exactOptional(),
    })
    .exactOptional(),
  decision: z
    .strictObject({
      alwaysCompareMed: z.boolean().exactOptional(),
      deterministicMed: z.boolean().exactOptional(),
      missingMedWorst: z.boolean().exactOptional(),
    })
    .exactOptional(),
  /** Most bytes of distinct path attributes; beyond it the neighbour with most of them falls. Default 512 MiB. */
  attributeBytes: z
    .int()
    .min(1 << 20)
    .max(2 ** 31)
    .exactOptional(),
  neighbors: z.array(neighborSchema).max(MOST_NEIGHBORS).default([]),
  dynamicNeighbors: z.array(dynamicNeighborSchema).max(1000).default([]),
  ...libraryFields,
  kernel: kernel.exactOptional(),
  bmp: z.array(bmpStation).max(16).default([]),
  /** The BFD daemon's socket. Default: bfd.sock beside ours. */
  bfdSocket: absolutePath.exactOptional(),
});

/** As written in files and sent by clients: with defaults left out. */
export type SpeakerConfigInput = z.input<typeof speakerConfigSchema>;
export type OwnerConfig = z.output<typeof speakerConfigSchema>;
export type KernelSettings = z.output<typeof kernel>;
export type BmpStationSettings = z.output<typeof bmpStation>;
