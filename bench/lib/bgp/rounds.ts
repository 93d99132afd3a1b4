/** Contenders in turn, several figures from each run. A contender that takes very long has fewer rounds. */
import type { Usage } from '@causeway/speaker/testing';
import { type Bar, type Context, type Figure, median } from '../benchmark.ts';
import type { Contender } from './contenders.ts';

export interface Measured {
  readonly metric: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  readonly value: number;
}

export interface Rounds {
  readonly name: string;
  readonly contenders: readonly Contender[];
  readonly rounds: number;
  readonly reference: string;
  /** A contender whose run took longer than this is not asked again. */
  readonly patienceMs: number;
  readonly run: (contender: Contender) => Promise<readonly Measured[]>;
}

/** What the router's processes used over a measurement, from its usage before and after. */
export function used(before: Usage, after: Usage): Measured[] {
  return [
    { metric: 'peak memory', unit: 'MiB', better: 'lower', value: after.peakKib / 1024 },
    {
      metric: 'processor time',
      unit: 's',
      better: 'lower',
      value: (after.cpuMs - before.cpuMs) / 1000,
    },
  ];
}

/** Figures of every metric, ratios against the reference; failures become notes, not figures. */
export async function inTurn(
  rounds: Rounds,
  log: Context['log'],
  notes: string[],
): Promise<Figure[]> {
  const samples = new Map<string, Map<string, { measured: Measured; values: number[] }>>();
  const out = new Set<string>();
  for (let round = 0; round < rounds.rounds; round += 1) {
    for (let place = 0; place < rounds.contenders.length; place += 1) {
      const contender = rounds.contenders[(round + place) % rounds.contenders.length];
      if (contender === undefined || out.has(contender.name)) continue;
      const begin = performance.now();
      try {
        const measured = await rounds.run(contender);
        const took = performance.now() - begin;
        log(
          `${rounds.name}, ${contender.name}, round ${round + 1}: ${measured
            .map((one) => `${one.metric} ${Math.round(one.value * 10) / 10} ${one.unit}`)
            .join(', ')}`,
        );
        for (const one of measured) {
          const metric = `${rounds.name}: ${one.metric}`;
          const ofMetric = samples.get(metric) ?? new Map();
          samples.set(metric, ofMetric);
          const own = ofMetric.get(contender.name) ?? { measured: one, values: [] };
          ofMetric.set(contender.name, own);
          own.values.push(one.value);
        }
        if (took > rounds.patienceMs) {
          out.add(contender.name);
          if (round + 1 < rounds.rounds)
            notes.push(
              `${rounds.name}: ${contender.name} has ${round + 1} of ${rounds.rounds} rounds, for one takes ${Math.round(took / 1000)} s.`,
            );
        }
      } catch (error) {
        out.add(contender.name);
        const why = `${rounds.name}: ${contender.name} did not finish: ${(error as Error).message.slice(0, 300)}`;
        log(why);
        notes.push(why);
      }
    }
  }
  return [...samples].flatMap(([metric, ofMetric]) => {
    const base = ofMetric.get(rounds.reference)?.values ?? [];
    return [...ofMetric].map(([variant, { measured, values }]) => ({
      metric,
      unit: measured.unit,
      better: measured.better,
      variant,
      median: median(values),
      samples: values,
      reference: rounds.reference,
      ratio:
        base.length === 0
          ? Number.NaN
          : median(values.map((value, round) => value / (base[round] ?? Number.NaN))),
    }));
  });
}

/** Faster than FRR, GoBGP and OpenBGPD in every `time`: the promise that holds everywhere. */
export function againstOthers(figures: readonly Figure[]): Bar[] {
  return figures
    .filter((figure) => figure.variant === 'Causeway' && figure.metric.endsWith(': time'))
    .flatMap((own) =>
      figures
        .filter((other) => other.metric === own.metric && isOther(other.variant))
        .map((other) => ({
          what: `${own.metric}, against ${other.variant}`,
          wanted: `less than ${other.median.toFixed(3)} ${own.unit}`,
          got: `${own.median.toFixed(3)} ${own.unit}`,
          met: own.median < other.median,
        })),
    );
}

const isOther = (variant: string): boolean => ['FRR', 'GoBGP', 'OpenBGPD'].includes(variant);

/** A bar on an absolute figure of ours, where it was measured. */
export function absoluteBar(figures: readonly Figure[], metric: string, limit: number): Bar[] {
  return figures
    .filter((figure) => figure.variant === 'Causeway' && figure.metric === metric)
    .map((figure) => ({
      what: `${metric}, Causeway`,
      wanted: `less than ${limit} ${figure.unit}`,
      got: `${figure.median.toFixed(2)} ${figure.unit}`,
      met: figure.median < limit,
    }));
}

/** A bar on our ratio to the reference. */
export function ratioBars(figures: readonly Figure[], metric: string, limit: number): Bar[] {
  return figures
    .filter((figure) => figure.variant === 'Causeway' && figure.metric === metric)
    .map((figure) => ({
      what: `${metric}, Causeway against ${figure.reference}`,
      wanted: `at most ${limit} times as much`,
      got: figure.ratio.toFixed(2),
      met: figure.ratio <= limit,
    }));
}
