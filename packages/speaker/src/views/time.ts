/** The core's clock is monotonic; people and other machines want the wall's. */
export const instant = (ms: number): string =>
  new Date(Math.round(performance.timeOrigin + ms)).toISOString();

export const secondsSince = (ms: number, now = performance.now()): number =>
  Math.max(0, Math.round((now - ms) / 100) / 10);
