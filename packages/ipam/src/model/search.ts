import { Violation } from './host.ts';

export interface Step<S> {
  readonly name: string;
  /** Changes the state; false if nothing came of it. */
  readonly run: (state: S) => boolean;
}

/** A system whose every state is to be seen. States are compared by key, and read back from it. */
export interface System<S> {
  readonly first: S;
  readonly keyOf: (state: S) => string;
  readonly stateOf: (key: string) => S;
  readonly copyOf: (state: S) => S;
  readonly stepsOf: (state: S) => readonly Step<S>[];
  /** Throws Violation. */
  readonly check: (state: S) => void;
  /** Throws Violation if an undisturbed system would not come well to rest from here. */
  readonly settle?: (state: S) => void;
}

export interface SearchResult {
  readonly states: number;
  readonly steps: number;
  /** Steps to the state furthest away. */
  readonly depth: number;
  /** False where `limit` ended the search. */
  readonly complete: boolean;
  readonly violation: string | undefined;
  /** The shortest way to the violation. */
  readonly trace: readonly string[];
}

/** Breadth first, so that the first violation is one of the nearest. */
export function search<S>(system: System<S>, limit = Number.POSITIVE_INFINITY): SearchResult {
  const { keyOf, stateOf, copyOf, stepsOf } = system;
  const keys: string[] = [keyOf(system.first)];
  const from: number[] = [-1];
  const by: string[] = [''];
  const seen = new Set(keys);
  let steps = 0;
  let level = 1;
  let depth = 0;
  const trace = (at: number): string[] => {
    const names: string[] = [];
    for (let i = at; i > 0; i = from[i] as number) names.unshift(by[i] as string);
    return names;
  };
  for (let at = 0; at < keys.length; at += 1) {
    if (at === level) {
      level = keys.length;
      depth += 1;
    }
    const key = keys[at] as string;
    let doing = '';
    try {
      const state = stateOf(key);
      system.check(state);
      system.settle?.(state);
      for (const step of stepsOf(state)) {
        const next = copyOf(state);
        doing = step.name;
        if (!step.run(next)) continue;
        steps += 1;
        const nextKey = keyOf(next);
        if (seen.has(nextKey)) continue;
        if (keys.length >= limit) {
          return result(keys.length, steps, depth, false, undefined, []);
        }
        seen.add(nextKey);
        keys.push(nextKey);
        from.push(at);
        by.push(step.name);
      }
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      const names = [...trace(at), ...(doing === '' ? [] : [doing])];
      return result(keys.length, steps, depth, true, error.message, names);
    }
    // A state that has been seen is told apart by its key alone.
    keys[at] = '';
  }
  return result(keys.length, steps, depth, true, undefined, []);
}

function result(
  states: number,
  steps: number,
  depth: number,
  complete: boolean,
  violation: string | undefined,
  trace: readonly string[],
): SearchResult {
  return { states, steps, depth, complete, violation, trace };
}
