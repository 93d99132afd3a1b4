const { runSpeaker } = await import('./src/program.ts');
await runSpeaker(process.argv.at(-1));
