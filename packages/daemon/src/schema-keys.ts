/** The value at a path of an input that may be anything; undefined where it ends early. */
export function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let current = root;
  for (const part of path) {
    if (current === null || typeof current !== 'object') return undefined;
    current = (current as Record<PropertyKey, unknown>)[part];
  }
  return current;
}

interface SchemaView {
  readonly shape?: Record<string, unknown>;
  readonly element?: unknown;
  readonly valueType?: unknown;
  readonly options?: readonly unknown[];
  readonly in?: unknown;
  unwrap?(): unknown;
}

/** The keys that a zod schema knows at a path of an input, seen through defaults, lists and alternatives. */
export function knownKeys(schema: unknown, path: readonly PropertyKey[], root: unknown): string[] {
  let views = open(schema);
  let value = root;
  for (const part of path) {
    value = valueAt(value, [part]);
    views = views.flatMap((view) =>
      open(view.shape?.[String(part)] ?? view.element ?? view.valueType),
    );
  }
  const shapes = views.flatMap((view) => (view.shape === undefined ? [] : [view.shape]));
  if (shapes.length < 2) return Object.keys(shapes[0] ?? {});
  // Of several alternatives the one that shares most words with what was written.
  const written = Object.keys((value ?? {}) as object);
  const shared = (shape: object) => written.filter((key) => Object.hasOwn(shape, key)).length;
  return Object.keys(shapes.sort((a, b) => shared(b) - shared(a))[0] ?? {});
}

function open(schema: unknown, depth = 0): SchemaView[] {
  const view = schema as SchemaView | undefined;
  if (view === undefined || depth > 8) return [];
  if (view.shape !== undefined || view.valueType !== undefined) return [view];
  if (view.options !== undefined) return view.options.flatMap((each) => open(each, depth + 1));
  if (view.element !== undefined) return [view];
  if (view.in !== undefined) return open(view.in, depth + 1);
  return view.unwrap === undefined ? [] : open(view.unwrap(), depth + 1);
}
