/** What to take away when a person ends a benchmark early: block scopes do not run then. */
const left = new Set<() => Promise<void> | void>();

/** Has `takeAway` called on SIGINT or SIGTERM until the returned function is. */
export function takeAwayOnInterrupt(takeAway: () => Promise<void> | void): () => void {
  left.add(takeAway);
  return () => left.delete(takeAway);
}

/** Ends the process as shells expect of one that was interrupted, when all is taken away. */
export function armInterrupt(): void {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, async () => {
      console.error(`bench: ${signal}: taking away what was built`);
      await Promise.allSettled([...left].map(async (takeAway) => takeAway()));
      process.exit(code);
    });
  }
}
