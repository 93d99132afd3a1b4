import { EXIT } from '../errors.ts';
import { readManifests } from '../manifests.ts';
import { printJson, printLine, printRows, printYaml, type Row } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';
import { askAll, mergeRows } from './agents.ts';

/** One node is enough: every agent knows every policy and identity, and answers by the code that fills its maps. */
export async function trace(invocation: Invocation): Promise<void> {
  const { from, to, port, protocol } = invocation.options;
  const body = { from, to, port: /^\d+$/.test(String(port)) ? Number(port) : port, protocol };
  const answer = (await invocation.withTarget((target) =>
    target.agents[0]!.ask('POST', '/v1/policy/trace', body),
  )) as Row;
  if (invocation.json) printJson(answer);
  else if (typeof answer.text === 'string') printLine(answer.text);
  else await printYaml(answer);
  if (answer.allowed === false || answer.verdict === 'denied') process.exitCode = EXIT.failure;
}

/** Every node answers for its own endpoints. */
export async function whatIf(invocation: Invocation): Promise<void> {
  const manifests = (await readManifests(invocation.options.filename as string[])).map(
    ({ value }) => value,
  );
  const answers = await invocation.withTarget((target) =>
    askAll(
      target,
      (agent) => agent.ask('POST', '/v1/policy/what-if', { manifests }),
      invocation.json,
    ),
  );
  if (invocation.json)
    return printJson(answers.map(({ node, body }) => ({ node, ...(body as Row) })));
  const changes = answers.flatMap(({ node, body }) =>
    mergeRows([{ node, body: (body as Row).changes ?? body }]),
  );
  for (const { node, body } of answers)
    for (const note of ((body as Row).notes ?? []) as string[]) printLine(`# ${node}: ${note}`);
  await printRows(
    changes,
    ['node', 'from', 'to', 'direction', 'port', 'before', 'after'],
    'no verdict would change',
  );
}
