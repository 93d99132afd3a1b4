/**
 * The shape of a benchmark, and the one way to compare: variants measured alternately (A B C A B C ...)
 * in one run, medians of the rounds, ratios to a named reference. The order within a round turns, so that
 * no variant is always the first after another.
 */

export interface Context {
  /** Fewer rounds and smaller sizes: to see that the benchmark works, not to quote from. */
  readonly quick: boolean;
  readonly log: (line: string) => void;
}

/** One figure of one variant: all samples, and the median as a ratio to the reference's median. */
export interface Figure {
  readonly metric: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  readonly variant: string;
  readonly median: number;
  readonly samples: readonly number[];
  readonly reference: string;
  /** Median of the ratios round by round; 1 for the reference itself. Above 1 is more of the unit. */
  readonly ratio: number;
}

/** A promise that the figures keep or miss. */
export interface Bar {
  readonly what: string;
  readonly wanted: string;
  readonly got: string;
  readonly met: boolean;
}

export interface Report {
  readonly figures: readonly Figure[];
  readonly bars: readonly Bar[];
  readonly notes: readonly string[];
}

export type Benchmark = (context: Context) => Promise<Report>;

export interface Measure {
  readonly metric: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  /** Name of the variant that the others are compared with. */
  readonly reference: string;
  readonly variants: Readonly<Record<string, () => Promise<number>>>;
  readonly rounds: number;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('median of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? 0) + high) / 2;
}

/** The value below which `share` (0 to 1) of the values lie, by the nearest-rank rule. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  if (value === undefined) throw new RangeError('quantile of nothing');
  return value;
}

/** A figure of ours that nothing is compared with. */
export const ownFigure = (metric: string, unit: string, samples: readonly number[]): Figure => ({
  metric,
  unit,
  better: 'lower',
  variant: 'causeway',
  median: median(samples),
  samples,
  reference: 'causeway',
  ratio: 1,
});

/** Measures every variant once a round, after one round that does not count. */
export async function compare(measure: Measure, log: Context['log']): Promise<Figure[]> {
  const names = Object.keys(measure.variants);
  const samples = new Map<string, number[]>(names.map((name) => [name, []]));
  for (let round = -1; round < measure.rounds; round += 1) {
    const turn = (Math.max(round, 0) % names.length) + names.length;
    for (let place = 0; place < names.length; place += 1) {
      const name = names[(turn + place) % names.length] ?? '';
      const value = await measure.variants[name]?.();
      if (value === undefined || !Number.isFinite(value))
        throw new Error(`${measure.metric}: ${name} gave ${value}`);
      if (round >= 0) samples.get(name)?.push(value);
    }
    if (round >= 0) log(`${measure.metric}: round ${round + 1} of ${measure.rounds}`);
  }
  const base = samples.get(measure.reference) ?? [];
  return names.map((variant) => {
    const own = samples.get(variant) ?? [];
    const ratios = own.map((value, round) => value / (base[round] ?? Number.NaN));
    return {
      metric: measure.metric,
      unit: measure.unit,
      better: measure.better,
      variant,
      median: median(own),
      samples: own,
      reference: measure.reference,
      ratio: median(ratios),
    };
  });
}

function figureOf(figures: readonly Figure[], metric: string, variant: string): Figure {
  const figure = figures.find((one) => one.metric === metric && one.variant === variant);
  if (figure === undefined) throw new Error(`no figure for ${metric} of ${variant}`);
  return figure;
}

/** The ratio of one figure to its reference. */
export function ratioOf(figures: readonly Figure[], metric: string, variant: string): number {
  return figureOf(figures, metric, variant).ratio;
}

/** The median of the ratios round by round of two variants that were measured in turn. */
export function ratioBetween(
  figures: readonly Figure[],
  metric: string,
  variant: string,
  other: string,
): number {
  const base = figureOf(figures, metric, other).samples;
  const own = figureOf(figures, metric, variant).samples;
  return median(own.map((value, round) => value / (base[round] ?? Number.NaN)));
}

/** A bar on a ratio: at least `limit` where more is better, at most where less is. */
export function ratioBar(
  figures: readonly Figure[],
  metric: string,
  variant: string,
  limit: number,
): Bar {
  const figure = figureOf(figures, metric, variant);
  const met = figure.better === 'higher' ? figure.ratio >= limit : figure.ratio <= limit;
  return {
    what: `${metric}: ${variant} against ${figure.reference}`,
    wanted: `${figure.better === 'higher' ? 'at least' : 'at most'} ${limit}`,
    got: figure.ratio.toFixed(3),
    met,
  };
}
