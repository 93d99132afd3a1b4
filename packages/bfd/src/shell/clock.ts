/** Microseconds of the steady clock. */
export const now = (): number => performance.now() * 1000;

/** The wall's time of a moment on the steady clock, as text. */
export const toInstant = (at: number): string =>
  new Date(Date.now() - (now() - at) / 1000).toISOString();

/**
 * When a datagram came, on the steady clock, from the kernel's stamp, which is the wall's. A wall
 * clock that was set meanwhile cannot move it before `earliest` or after `latest`.
 */
export function arrivalOf(receivedAt: number, earliest: number, latest: number): number {
  if (receivedAt === 0) return latest;
  const age = Date.now() * 1000 - receivedAt;
  return Math.max(earliest, Math.min(latest, latest - age));
}
