import { runPlugin } from './program.ts';

await runPlugin();
