/**
 * The codec alone: a million IPv4 routes, five to an attribute set, written as UPDATEs and read back.
 *
 *     node packages/bgp/bench/wire.ts
 *
 * Processor time, not wall time: other work on the machine does not count. The first round of reading is cold.
 */
import {
  Asn,
  encodeAttributes,
  Framer,
  NlriCursor,
  UpdateEncoder,
  UpdateParser,
} from '../index.ts';

const routes = 1_000_000;
const perSet = 5;
const chunk = 65_536;

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

function time<T>(name: string, work: () => T): T {
  const before = cpuMs();
  const result = work();
  console.log(`${name.padEnd(42)} ${(cpuMs() - before).toFixed(0).padStart(5)} ms`);
  return result;
}

const first = 65_000 * 65_536;
const sets = time('attribute sets encoded', () =>
  Array.from({ length: routes / perSet }, (_, i) =>
    encodeAttributes({
      origin: 0,
      asPath: [
        {
          type: 'sequence',
          asns: [65_001, 100 + (i % 60_000), 3356, 4_200_000_000 + (i % 1000)].map(Asn.of),
        },
      ],
      ...(i % 2 === 0 ? {} : { med: i % 100 }),
      communities: [first + (i % 500), first + 500 + (i % 7)],
      ...(i % 3 === 0 ? { largeCommunities: [{ admin: 65_000, data1: i, data2: 2 }] } : {}),
    }),
  ),
);

const stream = time('UPDATEs written', () => {
  const encoder = new UpdateEncoder({
    family: 'ipv4-unicast',
    addPath: false,
    fourOctetAs: true,
    maxMessage: 4096,
  });
  const nextHop = Uint8Array.of(10, 0, 0, 1);
  let n = 0;
  for (const set of sets) {
    encoder.announce(set, 0, set.length, nextHop);
    for (let i = 0; i < perSet; i++) encoder.prefix(0, 24, n++ << 8, 0, 0, 0);
  }
  return encoder.take();
});

function read(walk: boolean): number {
  const framer = new Framer();
  const parser = new UpdateParser({
    fourOctetAs: true,
    families: ['ipv4-unicast', 'ipv6-unicast'],
    addPath: [],
    external: true,
    firstAs: Asn.of(65_001),
  });
  const cursor = new NlriCursor();
  let count = 0;
  for (let at = 0; at < stream.length; at += chunk) {
    framer.push(stream.subarray(at, at + chunk));
    for (let frame = framer.next(); frame !== undefined; frame = framer.next()) {
      const { announced, problem } = parser.parse(frame.bytes, frame.body, frame.end);
      if (problem !== undefined) throw new Error(problem.reason);
      if (!walk) continue;
      for (const block of announced) {
        cursor.reset(block);
        while (cursor.next()) count++;
      }
    }
  }
  return count;
}

for (let round = 1; round <= 4; round++) {
  time(`round ${round}: framed, checked, made canonical`, () => read(false));
  const count = time(`round ${round}: the same, and every prefix read`, () => read(true));
  if (count !== routes) throw new Error(`${count} routes came out`);
}
console.log(`${stream.length} bytes, ${routes} routes`);
