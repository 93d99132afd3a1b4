/** Words for refusals: what was mistyped, what a schema knows, what must be. They load nothing else. */
export { issueText, typeText } from './src/issue-text.ts';
export { knownKeys } from './src/schema-keys.ts';
export { suggest } from './src/suggest.ts';
