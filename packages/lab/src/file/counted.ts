/** The names that entries with a `count` stand for: `n` × 3 is n1, n2, n3 (with a separator: n-1 ...). */
export function countedNames(
  entries: readonly { readonly name: string; readonly count?: number | undefined }[],
  separator = '',
): string[] {
  return entries.flatMap(({ name, count }) =>
    count === undefined
      ? [name]
      : Array.from({ length: count }, (_, i) => `${name}${separator}${i + 1}`),
  );
}
