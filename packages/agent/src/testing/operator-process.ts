import path from 'node:path';
import { pathToFileURL } from 'node:url';

// The operator stands on the agent's floor: tests take it as the program that it is, by its file.
const face = pathToFileURL(path.join(import.meta.dirname, '../../../operator/index.ts')).href;
const { runOperator } = (await import(face)) as {
  runOperator(config: string): Promise<void>;
};
await runOperator(process.argv[2]!);
