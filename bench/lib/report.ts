/** Prints a benchmark's figures, bars and notes for a person. */
import type { Report } from './benchmark.ts';

function number(value: number): string {
  const digits = Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 10 ? 1 : 3;
  return value.toLocaleString('en', {
    maximumFractionDigits: digits,
    minimumFractionDigits: digits,
  });
}

export function printReport(name: string, report: Report): void {
  console.log(`\n${name}`);
  for (const metric of new Set(report.figures.map((figure) => figure.metric))) {
    const rows = report.figures.filter((figure) => figure.metric === metric);
    const width = Math.max(...rows.map((row) => row.variant.length));
    console.log(
      `  ${metric} (${rows[0]?.unit}, ${rows[0]?.better} is better, reference: ${rows[0]?.reference})`,
    );
    for (const row of rows) {
      const low = Math.min(...row.samples);
      const high = Math.max(...row.samples);
      console.log(
        `    ${row.variant.padEnd(width)}  ${number(row.median).padStart(12)}  x ${row.ratio.toFixed(3)}  (${number(low)} to ${number(high)}, ${row.samples.length} rounds)`,
      );
    }
  }
  for (const bar of report.bars) {
    console.log(
      `  ${bar.met ? 'met   ' : 'MISSED'} ${bar.what}: wanted ${bar.wanted}, got ${bar.got}`,
    );
  }
  for (const note of report.notes) console.log(`  note: ${note}`);
}
