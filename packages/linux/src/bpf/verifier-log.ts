/** Lines at the end of a log that hold an instruction with its registers: "12: (85) call ...". */
const instruction = /^\d+: /;
const source = /^;/;
const state = /^(from \d+ to \d+|last_idx|regs=|mark_precise|parent |; R\d)/;
const statistics =
  /^(processed \d+ insns|verification time|stack depth|max_states|total_states|peak_states)/;

/**
 * The lines of a verifier's log that say why it refused: its complaint, the source lines that led
 * there, and the last instructions with their registers. Whole logs run to megabytes.
 */
export function summarizeVerifierLog(log: string, instructions = 6, sources = 3): string {
  const lines = log.split('\n').map((line) => line.trimEnd());
  while (lines.length > 0 && (lines.at(-1) === '' || statistics.test(lines.at(-1) ?? ''))) {
    lines.pop();
  }
  const kept: string[] = [];
  let instructionsLeft = instructions;
  let sourcesLeft = sources;
  for (let i = lines.length - 1; i >= 0 && (instructionsLeft > 0 || sourcesLeft > 0); i--) {
    const line = lines[i] ?? '';
    if (line === '' || state.test(line)) continue;
    if (source.test(line)) {
      if (sourcesLeft-- > 0) kept.unshift(line);
    } else if (instruction.test(line)) {
      if (instructionsLeft-- > 0) kept.unshift(line);
    } else if (kept.length < 4 || kept.every((l) => !instruction.test(l))) {
      kept.unshift(line);
    }
    if (kept.length >= instructions + sources + 4) break;
  }
  return kept.join('\n');
}

/** The refused program and its log in what libbpf printed while loading an object. */
export function findRefusal(
  printed: string,
): { readonly program: string; readonly log: string } | undefined {
  const failed = /prog '([^']+)': BPF program load failed/.exec(printed);
  const program = failed?.[1];
  if (program === undefined) return undefined;
  const begin = '-- BEGIN PROG LOAD LOG --\n';
  const start = printed.indexOf(begin);
  const end = printed.lastIndexOf('-- END PROG LOAD LOG --');
  const log = start < 0 ? '' : printed.slice(start + begin.length, end < 0 ? undefined : end);
  return { program, log };
}
