import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildProgram } from '../program.ts';
import { daemonCall } from './daemons.ts';

test('only a daemon with its configuration and nothing else starts past the parser', () => {
  for (const name of ['operator', 'speaker', 'bfd', 'bmp']) {
    for (const options of [[], ['--config', 'file'], ['--config=file']])
      assert.ok(daemonCall([name, ...options]), [name, ...options].join(' '));
    assert.ok(
      buildProgram().commands.some((command) => command.name() === name),
      `the parser knows ${name} as well`,
    );
  }
  for (const line of [
    '',
    'agent --config file',
    'speaker --help',
    'speaker --config',
    'speaker --config --json',
    'speaker --drain',
    'speaker --config file --json',
    'bfd sessions',
    'bmp status',
    'constructor',
  ])
    assert.equal(daemonCall(line === '' ? [] : line.split(' ')), undefined, line);
});
