/**
 * Records what other speakers put on the wire: `node packages/speaker/testing/capture-frames.ts FILE`. A client of a few
 * lines says everything in its OPEN that a speaker may answer to, and keeps every message that comes, as hexadecimal.
 * Needs root and the routers of setup.sh. The recordings are golden frames of the codec: bytes that it did not write.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bird } from './interop/bird.ts';
import { exabgp } from './interop/exabgp.ts';
import type { Foreign } from './interop/foreign.ts';
import { frr } from './interop/frr.ts';
import { gobgp } from './interop/gobgp.ts';
import { openbgpd } from './interop/openbgpd.ts';
import {
  OUR_ASN,
  OUR_IDS,
  OUR_SHORT_ASN,
  oursOf,
  type SessionPlan,
  theirsOf,
} from './interop/plan.ts';
import { cable, Namespace } from './namespaces.ts';
import { output } from './process.ts';

interface Captured {
  readonly router: string;
  readonly session: string;
  /** How its UPDATEs are to be read. */
  readonly context: { readonly fourOctetAs: boolean; readonly addPath: boolean };
  readonly frames: readonly string[];
}

const base = { speaker: 'A', opens: 'ours' } as const;
const sessions: readonly SessionPlan[] = [
  { ...base, key: 'plain4', number: 1, transport: 'ipv4', extendedMessages: true },
  { ...base, key: 'addpath', number: 2, transport: 'ipv4', addPath: true },
  { ...base, key: 'restart', number: 3, transport: 'ipv6', gracefulRestart: true },
  { ...base, key: 'nexthop', number: 4, transport: 'ipv6', extendedNextHop: true },
  { ...base, key: 'old', number: 5, transport: 'ipv4', oldSpeaker: true },
];

const u32 = (value: number): number[] => [
  value >>> 24,
  (value >>> 16) & 255,
  (value >>> 8) & 255,
  value & 255,
];

function open(plan: SessionPlan): Buffer {
  const asn = plan.oldSpeaker ? OUR_SHORT_ASN : OUR_ASN;
  const families = [
    [0, 1, 0, 1],
    [0, 2, 0, 1],
  ];
  const capability = (code: number, ...value: number[]): number[] => [code, value.length, ...value];
  const capabilities = [
    ...families.flatMap((family) => capability(1, ...family)),
    ...capability(2),
    ...capability(70),
    ...capability(6),
    ...capability(65, ...u32(asn)),
    ...(plan.extendedNextHop ? capability(5, 0, 1, 0, 1, 0, 2) : []),
    ...(plan.gracefulRestart ? capability(64, 0, 30, 0, 1, 1, 0x80, 0, 2, 1, 0x80) : []),
    ...(plan.addPath ? capability(69, 0, 1, 1, 3, 0, 2, 1, 3) : []),
  ];
  const id = OUR_IDS.A.split('.').map(Number);
  const my = asn > 65_535 ? 23_456 : asn;
  const body = [
    4,
    my >> 8,
    my & 255,
    0,
    90,
    ...id,
    capabilities.length + 2,
    2,
    capabilities.length,
    ...capabilities,
  ];
  const bytes = Buffer.alloc(19 + body.length, 0xff);
  bytes.writeUInt16BE(bytes.length, 16);
  bytes[18] = 1;
  bytes.set(body, 19);
  return bytes;
}

const keepalive = Buffer.from(`${'ff'.repeat(16)}001304`, 'hex');

/** Inside our namespace: a session to each address given, all messages of `ms` milliseconds. */
async function client(plans: readonly SessionPlan[], ms: number): Promise<void> {
  const all = plans.map(
    (plan) =>
      new Promise<string[]>((resolve) => {
        const frames: string[] = [];
        let rest = Buffer.alloc(0);
        const socket = connect({ host: theirsOf(plan), port: 179, localAddress: oursOf(plan) });
        socket.on('connect', () => socket.write(open(plan)));
        socket.on('error', () => {});
        socket.on('data', (bytes: Buffer) => {
          rest = Buffer.concat([rest, bytes]);
          while (rest.length >= 19 && rest.length >= rest.readUInt16BE(16)) {
            const frame = rest.subarray(0, rest.readUInt16BE(16));
            rest = rest.subarray(frame.length);
            if (frame[18] === 1) socket.write(keepalive);
            frames.push(frame.toString('hex'));
          }
        });
        setTimeout(() => {
          socket.destroy();
          resolve(frames);
        }, ms);
      }),
  );
  process.stdout.write(JSON.stringify(await Promise.all(all)));
}

async function capture(): Promise<Captured[]> {
  const captured: Captured[] = [];
  for (const kind of [bird, frr, gobgp, exabgp, openbgpd]) {
    const plans = sessions.filter(
      (plan) =>
        !(plan.oldSpeaker && kind.lacks['old-speaker']) &&
        !(plan.addPath && kind.lacks['add-path']) &&
        !(plan.extendedNextHop && kind.lacks['extended-next-hop']),
    );
    using ours = new Namespace('o');
    using theirs = new Namespace('t');
    const addresses = (host: number): string[] =>
      sessions.flatMap(({ number }) => [
        `10.90.${number}.${host}/24`,
        `fd90:${number}::${host}/64`,
      ]);
    cable(
      { namespace: ours, device: 'eth0', addresses: addresses(1) },
      { namespace: theirs, device: 'eth0', addresses: addresses(2) },
    );
    const directory = mkdtempSync(join(tmpdir(), `causeway-capture-${process.pid}-`));
    try {
      await using foreign: Foreign = await kind.start({
        namespace: theirs,
        directory: join(directory, 'foreign'),
        sessions: plans,
      });
      // The routers that wait before they listen again, or before they announce, have had their time then.
      await new Promise((resolve) => setTimeout(resolve, 2000));
      const answer = output([
        ...ours.prefix,
        process.execPath,
        import.meta.filename,
        'client',
        JSON.stringify(plans),
        '9000',
      ]);
      await new Promise((resolve) => setTimeout(resolve, 5000));
      await foreign.announceMoving();
      await new Promise((resolve) => setTimeout(resolve, 700));
      await foreign.withdrawMoving();
      await new Promise((resolve) => setTimeout(resolve, 700));
      await foreign.refresh(plans[0]!);
      await new Promise((resolve) => setTimeout(resolve, 500));
      await foreign.shutDown(plans[0]!, 'maintenance of the spine');
      const frames = JSON.parse(await answer) as string[][];
      plans.forEach((plan, index) => {
        captured.push({
          router: `${kind.name}`,
          session: plan.key,
          context: { fourOctetAs: !plan.oldSpeaker, addPath: plan.addPath === true },
          // Keep-alives are all alike.
          frames: [...new Set(frames[index])],
        });
      });
      console.log(`${kind.name}: ${frames.map((list) => list.length).join(' ')} messages`);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
  return captured;
}

const [word = '', argument = '', ms = ''] = process.argv.slice(2);
if (word === 'client') await client(JSON.parse(argument) as SessionPlan[], Number(ms));
else if (word === '') throw new Error('usage: node capture-frames.ts FILE');
else {
  writeFileSync(word, `${JSON.stringify(await capture(), null, 1)}\n`);
}
