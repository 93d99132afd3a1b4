/**
 * Node's comparison of values without `node:util` as a module: importing that reads every name it exports, and
 * some of them load workers and a parser of arguments.
 */
const util = process.getBuiltinModule('node:util');

export const same: (a: unknown, b: unknown) => boolean = util.isDeepStrictEqual;
