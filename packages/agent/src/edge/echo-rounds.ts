import type { Address } from '@causeway/ip';

/** How often each is asked, and how many answers in a row must be missing: somebody dead is found in 0.75 s. */
export const ROUND_MS = 150;
export const LOST = 4;
/**
 * Rounds (30 s) in which one that was taken out must have answered before that may be done again, twice as many each
 * time: a link that loses half of all echoes takes nobody out over and over.
 */
export const STEADY = 200;
const MOST_STEADY = 32 * STEADY;
/** Of so many the falls are remembered: far more than stand at one edge. */
const MOST_FALLS = 1000;

/** Who is asked for echoes. `rival`: others choose between it and this node; the rest are witnesses. */
export interface Watched {
  readonly name: string;
  readonly address: Address;
  readonly rival: boolean;
}

interface Peer extends Watched {
  /** Requests since the last answer. */
  unanswered: number;
  /** `unknown`: has never answered, and perhaps never will, as behind a firewall. */
  state: 'unknown' | 'up' | 'fallen';
}

/** Somebody who was taken out. */
interface Fall {
  /** Rounds in which it must answer, and for how many it has, before it can be accused again. */
  readonly wanted: number;
  steady: number;
}

/**
 * Who of the group answers, by counting requests and not by the clock: what the watcher itself has slept through
 * counts as one request. Pure; once a round tell what was heard, then call `round`.
 */
export class EchoRounds {
  #peers = new Map<string, Peer>();
  /** Also of those that are not followed at the moment, as who was taken out is not. The oldest first. */
  readonly #falls = new Map<string, Fall>();

  /** Those that are known stay as they stand. */
  follow(watched: readonly Watched[]): void {
    this.#peers = new Map(
      watched.map((each) => {
        const known = this.#peers.get(each.name);
        const same = known?.address === each.address;
        return [
          each.name,
          same ? { ...known, rival: each.rival } : { ...each, unanswered: 0, state: 'unknown' },
        ];
      }),
    );
  }

  heard(name: string): void {
    const peer = this.#peers.get(name);
    if (peer === undefined) return;
    peer.unanswered = 0;
    peer.state = 'up';
  }

  /** Counts the last round's silence. All that are followed are to be asked again now. */
  round(): void {
    for (const peer of this.#peers.values()) {
      if (peer.unanswered >= LOST && peer.state === 'up') peer.state = 'fallen';
      const fall = this.#falls.get(peer.name);
      if (fall !== undefined && fall.steady < fall.wanted) {
        if (peer.unanswered === 0) fall.steady++;
        else if (!answers(peer)) fall.steady = 0;
      }
      peer.unanswered++;
    }
  }

  /**
   * Rivals that have fallen and may be taken out. Where others are watched, one of them must have answered of late:
   * who hears nobody has lost his own network.
   */
  accused(): string[] {
    return [...this.#peers.values()]
      .filter(({ name, rival, state }) => rival && state === 'fallen' && !this.#held(name))
      .filter(({ name }) => {
        const others = [...this.#peers.values()].filter((each) => each.name !== name);
        return others.every(({ state }) => state === 'unknown') || others.some(answers);
      })
      .map(({ name }) => name);
  }

  /** Nothing more is said of this fall, nor of another until it has answered for long. */
  settle(name: string): void {
    const before = this.#falls.get(name)?.wanted ?? STEADY / 2;
    this.#falls.delete(name);
    this.#falls.set(name, { wanted: Math.min(2 * before, MOST_STEADY), steady: 0 });
    const [oldest] = this.#falls.keys();
    if (this.#falls.size > MOST_FALLS && oldest !== undefined) this.#falls.delete(oldest);
  }

  #held(name: string): boolean {
    const fall = this.#falls.get(name);
    return fall !== undefined && fall.steady < fall.wanted;
  }

  /** Somebody answers, or nobody ever did. */
  get connected(): boolean {
    const known = [...this.#peers.values()].filter(({ state }) => state !== 'unknown');
    return known.length === 0 || known.some(answers);
  }

  /**
   * All that have ever answered have fallen, a rival among them. At least two: one that is silent may be the one that
   * has gone, and tells nothing of this node's own network.
   */
  get cutOff(): boolean {
    const known = [...this.#peers.values()].filter(({ state }) => state !== 'unknown');
    if (known.length < 2 || !known.some(({ rival }) => rival)) return false;
    return known.every(({ state }) => state === 'fallen');
  }
}

const answers = ({ state, unanswered }: Peer): boolean => state === 'up' && unanswered <= 2;

const RIVALS = 3;
const WITNESSES = 2;

/**
 * Whom a node watches: the next living ones by name, in a ring, so that each is watched by as many and a large group
 * costs no more than a small one; and two other nodes, by which it knows its own network.
 */
export function watchedBy(
  node: string,
  nodes: readonly { readonly name: string; readonly address: Address }[],
  living: ReadonlySet<string>,
): Watched[] {
  const ring = nodes.filter(({ name }) => name !== node).toSorted((a, b) => order(a, b));
  const first = ring.findIndex(({ name }) => name > node);
  const from = first < 0 ? ring : [...ring.slice(first), ...ring.slice(0, first)];
  const rivals = from.filter(({ name }) => living.has(name)).slice(0, RIVALS);
  const witnesses = from.filter(({ name }) => !living.has(name)).slice(0, WITNESSES);
  return [
    ...rivals.map((each) => ({ ...each, rival: true })),
    ...witnesses.map((each) => ({ ...each, rival: false })),
  ];
}

const order = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
