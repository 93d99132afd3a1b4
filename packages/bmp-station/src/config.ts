import { LOG_LEVELS } from '@causeway/daemon';
import { Address, Prefix } from '@causeway/ip';
import { z } from 'zod';

const address = z.string().refine((text) => Address.tryParse(text) !== undefined, {
  error: 'an IPv4 or IPv6 address',
});
const port = z.int().min(0).max(65_535);
const prefix = z.string().refine(
  (text) => {
    try {
      Prefix.parseLoose(text);
      return true;
    } catch {
      return false;
    }
  },
  { error: 'a prefix such as 192.0.2.0/24, or an address' },
);
const whole = (least: number, most: number) => z.int().min(least).max(most);

/** The station's configuration file. */
export const stationConfig = z.strictObject({
  /** Where routers connect to. */
  listen: z
    .array(z.strictObject({ address: address.default('::'), port: port.default(11_019) }))
    .min(1)
    .default([{ address: '::', port: 11_019 }]),
  /** Who may connect; the station knows no other way to tell a router from anybody. */
  allow: z.array(prefix).min(1).default(['0.0.0.0/0', '::/0']),
  /** Directory of the history. */
  data: z.string().min(1).default('/var/lib/causeway/bmp'),
  runDir: z.string().min(1).default('/run/causeway'),
  /** The API also over TCP, without authentication: for a loopback or a management network. */
  http: z.strictObject({ address, port }).optional(),
  limits: z
    .strictObject({
      routers: whole(1, 10_000).default(200),
      peersPerRouter: whole(1, 100_000).default(4_000),
      routes: whole(1, 50_000_000).default(5_000_000),
      messageBytes: whole(4_096, 16_777_216).default(262_144),
    })
    .prefault({}),
  history: z
    .strictObject({
      rows: whole(100, 100_000_000).default(2_000_000),
      bytes: whole(1_048_576, 1_099_511_627_776).default(2_147_483_648),
      days: whole(1, 3_650).default(90),
    })
    .prefault({}),
  faults: z
    .strictObject({
      /** ms of quiet after which a fault is judged. */
      gap: whole(100, 60_000).default(2_000),
      span: whole(1_000, 600_000).default(30_000),
    })
    .prefault({}),
  log: z.enum(LOG_LEVELS).default('info'),
});
export type StationConfig = z.infer<typeof stationConfig>;
