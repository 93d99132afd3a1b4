type Daemon = (config: string | undefined) => Promise<void>;

const daemons: Readonly<Record<string, () => Promise<Daemon>>> = {
  operator: async () => (await import('@causeway/operator')).runOperator,
  speaker: async () => (await import('@causeway/speaker')).runSpeaker,
  bfd: async () => (await import('@causeway/bfd-daemon')).runBfdDaemon,
  bmp: async () => (await import('@causeway/bmp-station')).runStation,
};

/**
 * A long-running program that is called with its configuration and nothing else, as units and labs call it; undefined:
 * something else is meant. It starts without the parser and the words of all other commands, some 4 MiB that it would
 * keep for as long as it runs.
 */
export function daemonCall(args: readonly string[]): (() => Promise<void>) | undefined {
  const [name = '', ...options] = args;
  const load = Object.hasOwn(daemons, name) ? daemons[name] : undefined;
  const config = configOf(options);
  if (load === undefined || config === undefined) return undefined;
  return async () => (await load())(config.file);
}

function configOf(options: readonly string[]): { readonly file: string | undefined } | undefined {
  const [first, second] = options;
  if (first === undefined) return { file: undefined };
  if (options.length === 1 && first.startsWith('--config=')) return { file: first.slice(9) };
  if (options.length === 2 && first === '--config' && second !== '' && !second?.startsWith('-'))
    return { file: second };
  return undefined;
}
