import { openLab, type PodPlan, podPlace, type Serve } from '@causeway/lab';
import { CliError } from '../errors.ts';
import { printJson, printLine } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';
import { splitPlace } from './lab.ts';

const NAME = /^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$/;

/** Starts a pod that no lab file names; it is a place like the others until it is stopped. */
export async function run(
  { json, options }: Invocation,
  [target]: readonly string[],
): Promise<void> {
  const { name, rest } = splitPlace(target!);
  await using lab = openLab(name);
  const [clusterName, namespace = '', podName = '', ...more] = rest.split('/');
  if (more.length > 0 || !NAME.test(namespace) || !NAME.test(podName))
    throw new CliError('bad-usage', `${rest} is not of the form CLUSTER/NAMESPACE/POD`, {
      field: 'pod',
      value: rest,
    });
  const cluster = lab.cluster(clusterName);
  const node =
    options.on === undefined
      ? cluster.agents[0]!.node.name
      : lab.agent(String(options.on)).node.name;
  const pod: PodPlan = {
    cluster: cluster.plan.name,
    namespace,
    name: podName,
    node,
    labels: parseLabels(String(options.labels ?? '')),
    runtime: parseRuntime(options.runtime),
    serve: ((options.serve as string[] | undefined) ?? []).map(parseServe),
  };
  if (lab.pods.some((other) => podPlace(other) === rest))
    throw new CliError('already-exists', `lab ${name} has a pod ${rest} already`, {
      field: 'pod',
      value: rest,
    });
  const [addresses = []] = await lab.addPods([pod]);
  await lab.settled();
  if (json) printJson({ place: `${name}/${rest}`, node, addresses });
  else printLine(`${name}/${rest} runs on ${node}: ${addresses.join(' ')}`);
}

export function parseLabels(text: string): Record<string, string> {
  return Object.fromEntries(
    text
      .split(',')
      .filter((part) => part !== '')
      .map((part) => {
        const equals = part.indexOf('=');
        if (equals <= 0)
          throw new CliError('bad-usage', `${part} is no label`, {
            field: '--labels',
            value: part,
            hint: 'write key=value, with commas between',
          });
        return [part.slice(0, equals), part.slice(equals + 1)];
      }),
  );
}

export function parseServe(text: string): Serve {
  const [type = '', port = '', name] = text.split(':');
  const number = Number(port);
  if (
    (type !== 'http' && type !== 'tcp' && type !== 'udp') ||
    !Number.isInteger(number) ||
    number < 1 ||
    number > 65535
  )
    throw new CliError('bad-usage', `${text} is no server`, {
      field: '--serve',
      value: text,
      hint: 'write TYPE:PORT or TYPE:PORT:NAME, where TYPE is http, tcp or udp and PORT 1 to 65535',
    });
  return { type, port: number, ...(name === undefined ? {} : { name }) };
}

function parseRuntime(text: unknown): PodPlan['runtime'] {
  if (text === 'netns' || text === 'containerd') return text;
  throw new CliError('bad-usage', `there is no runtime ${String(text)}`, {
    field: '--runtime',
    value: text,
    hint: 'netns or containerd',
  });
}
