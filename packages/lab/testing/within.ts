import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';

const TRIES = 3;

/**
 * A bar in time, on a machine whose cores others use too: a figure over the bar is measured again, up to
 * three times, and each is told. What is too slow by itself is so every time. `measure` gives milliseconds
 * and leaves all as it found it.
 */
export async function within(
  t: TestContext,
  what: string,
  barMs: number,
  measure: () => Promise<number>,
): Promise<void> {
  await inOneOf(t, what, async () => {
    const ms = await measure();
    t.diagnostic(`${what}: ${ms.toFixed(0)} ms`);
    return ms < barMs ? undefined : `${ms.toFixed(0)} ms where ${barMs} ms are allowed`;
  });
}

/** The same for what is no single figure: `measure` gives what was wrong, in words, or undefined. */
export async function inOneOf(
  t: TestContext,
  what: string,
  measure: () => Promise<string | undefined>,
): Promise<void> {
  const wrong: string[] = [];
  for (let i = 1; i <= TRIES; i++) {
    const words = await measure();
    if (words === undefined) return;
    t.diagnostic(`${what}, try ${i} of ${TRIES}: ${words}`);
    wrong.push(words);
  }
  assert.fail(`${what}: in none of ${TRIES} tries\n${wrong.join('\n')}`);
}
