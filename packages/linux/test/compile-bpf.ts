import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const prelude = `// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "Dual BSD/GPL";
`;

/** For tests: compiles C and gives the path of the object, which goes away with the holder. */
export function compileBpf(source: string): { readonly path: string } & Disposable {
  const directory = mkdtempSync(join(tmpdir(), `causeway-linux-${process.pid}-`));
  const path = join(directory, 'test.o');
  writeFileSync(join(directory, 'test.c'), prelude + source);
  const include = `/usr/include/${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu`;
  execFileSync('clang', [
    ...['-O2', '-g', '-target', 'bpf', '-Wall', '-Werror', `-I${include}`],
    ...['-c', join(directory, 'test.c'), '-o', path],
  ]);
  return {
    path,
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}
