/** Keys that may be undefined become keys that may be absent. */
export type Given<T> = {
  [K in keyof T as undefined extends T[K] ? never : K]: T[K];
} & { [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> };

/** The same without what is undefined: absent and undefined are not one in JSON and in our types. */
export function given<T extends object>(all: T): Given<T> {
  return Object.fromEntries(
    Object.entries(all).filter(([, value]) => value !== undefined),
  ) as Given<T>;
}
