import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Address } from '@causeway/ip';
import { Netns, RtSocket, request } from '@causeway/linux';

/** The two systems of a site: we are one of them. Device `e0` in both. */
export const ours = { ipv4: '10.9.0.1', ipv6: 'fd09::1', linkLocal: 'fe80::9:1' } as const;
export const theirs = { ipv4: '10.9.0.2', ipv6: 'fd09::2', linkLocal: 'fe80::9:2' } as const;
/** Behind a router from each other, for multihop. */
export const far = {
  ours: { ipv4: '10.91.0.1', ipv6: 'fd91::1' },
  theirs: { ipv4: '10.92.0.1', ipv6: 'fd92::1' },
} as const;

const parsed = (text: string) => Address.toBytes(Address.parse(text));
let made = 0;

/**
 * Two namespaces and one between, which is a bridge from one to the other and a router between two
 * more networks. A cut is made there, so that neither end sees it: both keep their carrier.
 */
export class Site implements Disposable {
  readonly ours: Netns;
  readonly theirs: Netns;
  readonly ourPath: string;
  readonly theirPath: string;
  readonly theirName: string;
  readonly directory: string;
  readonly #middle: Netns;
  readonly #names: string[] = [];
  readonly #bridge: number;
  readonly #middlePath: string;

  constructor() {
    const tag = `cwb${process.pid}-${made++}`;
    const make = (end: string) => {
      const name = `${tag}${end}`;
      this.#names.push(name);
      const ns = Netns.create(name);
      ns.run(() => {
        for (const [key, value] of [
          ['net/ipv6/conf/all/accept_dad', '0'],
          ['net/ipv6/conf/default/accept_dad', '0'],
          ['net/ipv4/ip_forward', end === 'm' ? '1' : '0'],
          ['net/ipv6/conf/all/forwarding', end === 'm' ? '1' : '0'],
        ] as const)
          writeFileSync(`/proc/sys/${key}`, value);
      });
      return ns;
    };
    this.ours = make('a');
    this.theirs = make('b');
    this.#middle = make('m');
    this.ourPath = `/run/netns/${tag}a`;
    this.#middlePath = `/run/netns/${tag}m`;
    this.theirPath = `/run/netns/${tag}b`;
    this.theirName = `${tag}b`;
    this.directory = mkdtempSync(join(tmpdir(), `${tag}-`));
    using middle = RtSocket.open(this.#middle);
    middle.apply([
      request.setLink({ name: 'lo' }, { up: true }),
      request.createBridge({ name: 'br0', up: true, addressGeneration: 'none' }),
    ]);
    this.#bridge = middle.link({ name: 'br0' })!.index;
    this.#addEnd(this.ours, 'a', ours, far.ours, far.theirs);
    this.#addEnd(this.theirs, 'b', theirs, far.theirs, far.ours);
  }

  #addEnd(
    ns: Netns,
    end: 'a' | 'b',
    near: typeof ours | typeof theirs,
    own: { readonly ipv4: string; readonly ipv6: string },
    other: { readonly ipv4: string; readonly ipv6: string },
  ): void {
    using middle = RtSocket.open(this.#middle);
    using rt = RtSocket.open(ns);
    const device = (name: string, peer: string, master?: number) =>
      request.createVeth({
        name: peer,
        up: true,
        // A router asks for its neighbours from its link-local address.
        ...(master === undefined ? {} : { addressGeneration: 'none' as const }),
        ...(master === undefined ? {} : { master }),
        peer: { name, up: true, namespace: ns, addressGeneration: 'none' },
      });
    middle.apply([device('e0', `${end}0`, this.#bridge), device('e1', `${end}1`)]);
    const index = (socket: RtSocket, name: string) => socket.link({ name })!.index;
    const add = (socket: RtSocket, name: string, text: string, prefixLength: number) =>
      socket.apply(
        request.addAddress({ ifindex: index(socket, name), address: parsed(text), prefixLength }),
      );
    rt.apply(request.setLink({ name: 'lo' }, { up: true }));
    add(rt, 'e0', near.ipv4, 24);
    add(rt, 'e0', near.ipv6, 64);
    add(rt, 'e0', near.linkLocal, 64);
    for (const family of ['ipv4', 'ipv6'] as const) {
      const length = family === 'ipv4' ? 24 : 64;
      const gateway = own[family].replace(/1$/, '254');
      add(rt, 'e1', own[family], length);
      add(middle, `${end}1`, gateway, length);
      rt.apply(
        request.addRoute({
          family: family === 'ipv4' ? 4 : 6,
          destination: parsed(other[family]),
          prefixLength: family === 'ipv4' ? 32 : 128,
          via: parsed(gateway),
          ifindex: index(rt, 'e1'),
          // "static": zebra takes routes of protocols that it knows for its own leavings.
          protocol: 4,
        }),
      );
    }
  }

  /** Nothing goes through any more, and nobody is told; `mend` ends it. */
  cut(): void {
    this.#cable(0);
    this.#nft(
      'add table inet cut; add chain inet cut through { type filter hook forward priority 0; policy drop; }',
    );
  }

  mend(): void {
    this.#cable(this.#bridge);
    this.#nft('delete table inet cut');
  }

  #cable(master: number): void {
    using middle = RtSocket.open(this.#middle);
    middle.apply(request.setLink({ name: 'a0' }, { master }));
  }

  #nft(rules: string): void {
    execFileSync('nsenter', [`--net=${this.#middlePath}`, 'nft', rules]);
  }

  [Symbol.dispose](): void {
    for (const ns of [this.ours, this.theirs, this.#middle]) ns.close();
    for (const name of this.#names) Netns.remove(name);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Asks until the answer is not undefined; fails with `what` after a time. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 30_000,
  said: () => Promise<string> | string = () => '',
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > end)
      throw new Error(`not in ${timeoutMs} ms: ${what}; ${await said()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
