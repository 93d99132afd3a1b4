export { Address } from './src/address.ts';
export { IpError, type IpErrorCode } from './src/errors.ts';
export { Mac } from './src/mac.ts';
export { Prefix, type PrefixParseOptions } from './src/prefix.ts';
export { aggregate, boundsOf, countAddresses, rangeToPrefixes, subtract } from './src/sets.ts';
export { type PrefixEntry, PrefixTrie } from './src/trie.ts';
export type { Family } from './src/words.ts';
