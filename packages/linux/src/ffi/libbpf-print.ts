import koffi from 'koffi';
import { libbpf } from './libbpf.ts';
import { libc } from './libc.ts';
import { fromCString, stableBytes } from './memory.ts';

const warning = 0; // LIBBPF_WARN; INFO and DEBUG are louder than anybody wants

let captured: string[] | undefined;
let installed = false;

// va_list is handed over by address on x86-64 (24 bytes) and arm64 (32); formatting consumes it, so
// the first pass, which only measures, works on the original and the second on a saved copy.
const vaListSize = process.arch === 'x64' ? 24 : 32;

function print(level: number, format: bigint | number, args: bigint | number): number {
  if (level !== warning || captured === undefined) return 0;
  const saved = stableBytes(vaListSize);
  saved.set(new Uint8Array(koffi.view(BigInt(args), vaListSize)));
  const length = libc.vsnprintf(null, 0, format, args);
  if (length <= 0) return 0;
  const text = stableBytes(length + 1);
  libc.vsnprintf(text, text.length, format, koffi.address(saved));
  captured.push(fromCString(text));
  return length;
}

/**
 * Runs `fn` and returns with its result what libbpf warned meanwhile. Outside of such a call libbpf
 * is silent: its default is to write to our standard error.
 */
export function capturingWarnings<T>(fn: () => T): { result: T; warnings: string } {
  if (!installed) {
    const type = koffi.proto('int (int level, uintptr_t format, uintptr_t arguments)');
    libbpf().setPrint(koffi.register(print, koffi.pointer(type)));
    installed = true;
  }
  const outer = captured;
  captured = [];
  try {
    const result = fn();
    return { result, warnings: captured.join('') };
  } finally {
    captured = outer;
  }
}
