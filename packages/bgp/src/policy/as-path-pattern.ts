import { refusePolicy } from './errors.ts';

/**
 * Regular expressions over the text of an AS path, as routers have them: characters, `.`, `[0-9]`, `[^ ]`, `( | )`,
 * `* + ?`, `{m,n}`, `^`, `$`, and `_` for the edge of a number (start, end, blank, comma, brace,
 * parenthesis). Run as a set of states side by side: paths come from the network, and no pattern may
 * make one of them expensive.
 */
type Node =
  | { readonly type: 'char'; readonly test: (code: number) => boolean }
  | { readonly type: 'edge' }
  | { readonly type: 'start' }
  | { readonly type: 'end' }
  | { readonly type: 'empty' }
  | { readonly type: 'sequence'; readonly parts: readonly Node[] }
  | { readonly type: 'choice'; readonly parts: readonly Node[] }
  | { readonly type: 'repeat'; readonly part: Node; readonly min: number; readonly max: number };

const mostStates = 2000;

/** Throws BgpError `invalid-config`. The function tells whether the pattern is found in a path's text. */
export function compileAsPathPattern(pattern: string, where: string): (path: string) => boolean {
  const tree = parse(pattern, where);
  const program: Instruction[] = [];
  emit(tree, program, pattern, where);
  program.push({ type: 'match' });
  return (path) => run(program, path);
}

function parse(pattern: string, where: string): Node {
  let at = 0;
  const wrong = (why: string): never =>
    refusePolicy(where, pattern, `an AS path pattern: ${why} at ${at + 1}`);

  const choice = (depth: number): Node => {
    if (depth > 50) wrong('too many parentheses');
    const parts = [sequence(depth)];
    while (pattern[at] === '|') {
      at++;
      parts.push(sequence(depth));
    }
    return parts.length === 1 ? parts[0]! : { type: 'choice', parts };
  };

  const sequence = (depth: number): Node => {
    const parts: Node[] = [];
    while (at < pattern.length && pattern[at] !== '|' && pattern[at] !== ')')
      parts.push(repeated(depth));
    return parts.length === 0 ? { type: 'empty' } : { type: 'sequence', parts };
  };

  const repeated = (depth: number): Node => {
    let node = atom(depth);
    for (;;) {
      const sign = pattern[at];
      if (sign === '*')
        node = { type: 'repeat', part: node, min: 0, max: Number.POSITIVE_INFINITY };
      else if (sign === '+')
        node = { type: 'repeat', part: node, min: 1, max: Number.POSITIVE_INFINITY };
      else if (sign === '?') node = { type: 'repeat', part: node, min: 0, max: 1 };
      else if (sign === '{') {
        const found = /^\{(\d{1,2})(?:(,)(\d{0,2}))?\}/.exec(pattern.slice(at));
        // A brace that counts nothing is a character of a path (an AS set).
        if (found === null) return node;
        const min = Number(found[1]);
        const max =
          found[2] === undefined
            ? min
            : found[3] === ''
              ? Number.POSITIVE_INFINITY
              : Number(found[3]);
        if (max < min) wrong('a count whose end is before its start');
        node = { type: 'repeat', part: node, min, max };
        at += found[0].length - 1;
      } else return node;
      at++;
    }
  };

  const atom = (depth: number): Node => {
    const char = pattern[at++]!;
    switch (char) {
      case '^':
        return { type: 'start' };
      case '$':
        return { type: 'end' };
      case '_':
        return { type: 'edge' };
      case '.':
        return { type: 'char', test: () => true };
      case '(': {
        if (pattern.startsWith('?:', at)) at += 2;
        const inner = choice(depth + 1);
        if (pattern[at] !== ')') wrong('a parenthesis that is not closed');
        at++;
        return inner;
      }
      case '[':
        return set();
      case '*':
      case '+':
      case '?':
        at--;
        return wrong(`nothing in front of ${char}`);
      case '\\': {
        const next = pattern[at++];
        if (next === undefined) return wrong('nothing behind the backslash');
        if (next === 'd') return { type: 'char', test: isDigit };
        return literal(next);
      }
      default:
        return literal(char);
    }
  };

  const literal = (char: string): Node => {
    const code = char.charCodeAt(0);
    return { type: 'char', test: (other) => other === code };
  };

  const set = (): Node => {
    const negated = pattern[at] === '^';
    if (negated) at++;
    const ranges: [number, number][] = [];
    for (let first = true; pattern[at] !== ']' || first; first = false) {
      if (at >= pattern.length) wrong('a bracket that is not closed');
      const low = pattern.charCodeAt(at++);
      let high = low;
      if (pattern[at] === '-' && at + 1 < pattern.length && pattern[at + 1] !== ']') {
        high = pattern.charCodeAt(at + 1);
        at += 2;
        if (high < low) wrong('a range whose end is before its start');
      }
      ranges.push([low, high]);
    }
    at++;
    return {
      type: 'char',
      test: (code) => ranges.some(([low, high]) => code >= low && code <= high) !== negated,
    };
  };

  const tree = choice(0);
  if (at < pattern.length) wrong('a parenthesis that was not opened');
  return tree;
}

const isDigit = (code: number): boolean => code >= 48 && code <= 57;

type Instruction =
  | { readonly type: 'char'; readonly test: (code: number) => boolean }
  | { readonly type: 'edge' | 'start' | 'end' | 'match' }
  | { readonly type: 'jump'; to: number }
  | { readonly type: 'split'; a: number; b: number };

function emit(node: Node, out: Instruction[], pattern: string, where: string): void {
  if (out.length > mostStates)
    refusePolicy(where, pattern, 'an AS path pattern: too many repetitions');
  switch (node.type) {
    case 'char':
    case 'edge':
    case 'start':
    case 'end':
      out.push(node);
      return;
    case 'empty':
      return;
    case 'sequence':
      for (const part of node.parts) emit(part, out, pattern, where);
      return;
    case 'choice': {
      const ends: { type: 'jump'; to: number }[] = [];
      node.parts.forEach((part, i) => {
        const isLast = i === node.parts.length - 1;
        const split = { type: 'split' as const, a: out.length + 1, b: 0 };
        if (!isLast) out.push(split);
        emit(part, out, pattern, where);
        if (isLast) return;
        const end = { type: 'jump' as const, to: 0 };
        out.push(end);
        ends.push(end);
        split.b = out.length;
      });
      for (const end of ends) end.to = out.length;
      return;
    }
    case 'repeat': {
      for (let i = 0; i < node.min; i++) emit(node.part, out, pattern, where);
      if (node.max === Number.POSITIVE_INFINITY) {
        const split = { type: 'split' as const, a: out.length + 1, b: 0 };
        const start = out.length;
        out.push(split);
        emit(node.part, out, pattern, where);
        out.push({ type: 'jump', to: start });
        split.b = out.length;
        return;
      }
      const splits: { type: 'split'; a: number; b: number }[] = [];
      for (let i = node.min; i < node.max; i++) {
        const split = { type: 'split' as const, a: out.length + 1, b: 0 };
        out.push(split);
        splits.push(split);
        emit(node.part, out, pattern, where);
      }
      for (const split of splits) split.b = out.length;
      return;
    }
    default:
      node satisfies never;
  }
}

const isEdge = (code: number): boolean =>
  code === 32 || code === 44 || code === 123 || code === 125 || code === 40 || code === 41;

function run(program: readonly Instruction[], text: string): boolean {
  const seen = new Int32Array(program.length).fill(-1);
  let now: number[] = [];
  let next: number[] = [];
  const stack: number[] = [];
  // An edge may also eat the separator that it stands on: `_65001_65002_` means neighbours in the path.
  const enter = (from: number, at: number, list: number[]): boolean => {
    stack.push(from);
    while (stack.length > 0) {
      const pc = stack.pop()!;
      if (seen[pc] === at) continue;
      seen[pc] = at;
      const instruction = program[pc]!;
      switch (instruction.type) {
        case 'match':
          return true;
        case 'jump':
          stack.push(instruction.to);
          break;
        case 'split':
          stack.push(instruction.b, instruction.a);
          break;
        case 'start':
          if (at === 0) stack.push(pc + 1);
          break;
        case 'end':
          if (at === text.length) stack.push(pc + 1);
          break;
        case 'edge':
          if (at === 0 || at === text.length) stack.push(pc + 1);
          if (at < text.length && isEdge(text.charCodeAt(at))) list.push(pc);
          break;
        case 'char':
          list.push(pc);
          break;
        default:
          instruction satisfies never;
      }
    }
    return false;
  };
  for (let at = 0; ; at++) {
    stack.length = 0;
    // Unanchored: it may begin anywhere.
    if (enter(0, at, now)) return true;
    if (at === text.length) return false;
    const code = text.charCodeAt(at);
    next = [];
    for (const pc of now) {
      const instruction = program[pc]!;
      const passes =
        instruction.type === 'char'
          ? instruction.test(code)
          : instruction.type === 'edge' && isEdge(code);
      if (passes && enter(pc + 1, at + 1, next)) return true;
    }
    now = next;
  }
}
