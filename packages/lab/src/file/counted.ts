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

/** The names of a lab file's pod entry; a StatefulSet's ordinals begin with 0. */
export function podNames(pod: {
  readonly name: string;
  readonly count?: number | undefined;
  readonly statefulSet: boolean;
}): string[] {
  if (!pod.statefulSet) return countedNames([pod], '-');
  return Array.from({ length: pod.count ?? 1 }, (_, ordinal) => `${pod.name}-${ordinal}`);
}
