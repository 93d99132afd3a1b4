import { type LabProgram, openLab, type ProgramName } from '@causeway/lab';
import { CliError } from '../errors.ts';
import { printJson, printLine } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';
import { splitPlace } from './lab.ts';

type Verbs = Readonly<Record<string, () => Promise<void> | void>>;

async function run(
  { json }: Invocation,
  verbs: Verbs,
  verb: string | undefined,
  about: string,
): Promise<void> {
  if (verb === undefined || !Object.hasOwn(verbs, verb))
    throw new CliError('bad-usage', `there is no verb ${String(verb)} here`, {
      field: 'verb',
      value: verb,
      hint: `verbs: ${Object.keys(verbs).join(', ')}`,
    });
  await verbs[verb]!();
  if (json) printJson({ about, verb, done: true });
  else printLine(`${about}: ${verb} done`);
}

export const agent = program('agent');
export const speaker = program('speaker');
export const bfd = program('bfd');

/** The verbs for one of a node's programs. */
function program(which: ProgramName) {
  return async (invocation: Invocation, [target, verb]: readonly string[]): Promise<void> => {
    const { name, rest } = splitPlace(target!);
    await using lab = openLab(name);
    const { programs } = lab.agent(rest);
    const one = programs.find((candidate) => candidate.name === which);
    if (one === undefined)
      throw new CliError(
        'bad-usage',
        `${rest} runs no ${which}: its cluster does not route by BGP`,
        {
          field: 'node',
          value: rest,
        },
      );
    await run(invocation, programVerbs(one), verb, `${which} on ${rest}`);
  };
}

export async function inventory(
  invocation: Invocation,
  [target, verb]: readonly string[],
): Promise<void> {
  const { name, rest } = splitPlace(target!);
  await using lab = openLab(name);
  await run(invocation, programVerbs(lab.inventory(rest)), verb, rest);
}

export async function operator(
  invocation: Invocation,
  [target, verb]: readonly string[],
): Promise<void> {
  const { name, rest } = splitPlace(target!);
  await using lab = openLab(name);
  await run(invocation, programVerbs(lab.operator(rest)), verb, rest);
}

function programVerbs(one: LabProgram): Verbs {
  return {
    start: () => one.start(),
    stop: () => one.kill('SIGTERM'),
    kill: () => one.kill('SIGKILL'),
    restart: () => one.restart(),
    pause: () => one.kill('SIGSTOP'),
    resume: () => one.kill('SIGCONT'),
  };
}

export async function router(
  invocation: Invocation,
  [target, verb]: readonly string[],
): Promise<void> {
  const { name, rest } = splitPlace(target!);
  await using lab = openLab(name);
  const one = lab.router(rest);
  await run(
    invocation,
    {
      start: () => one.start(),
      stop: () => one.stop('SIGTERM'),
      kill: () => one.stop('SIGKILL'),
      cut: () => one.cables('down'),
      heal: () => one.cables('up'),
      off: () => one.powerOff(),
      on: () => one.powerOn(),
    },
    verb,
    `router ${rest}`,
  );
}

export async function freeze(invocation: Invocation, [target]: readonly string[]): Promise<void> {
  await silence(invocation, target!, 'freeze');
}

export async function thaw(invocation: Invocation, [target]: readonly string[]): Promise<void> {
  await silence(invocation, target!, 'thaw');
}

async function silence(
  invocation: Invocation,
  target: string,
  verb: 'freeze' | 'thaw',
): Promise<void> {
  const { name, rest } = splitPlace(target);
  await using lab = openLab(name);
  await run(invocation, { freeze: () => lab.freeze(rest), thaw: () => lab.thaw(rest) }, verb, rest);
}

export async function etcd(
  invocation: Invocation,
  [target, verb]: readonly string[],
): Promise<void> {
  const { name, rest } = splitPlace(target!);
  await using lab = openLab(name);
  const one = lab.cluster(rest).etcd;
  await run(
    invocation,
    {
      start: () => one.start(),
      stop: () => one.stop('SIGTERM'),
      kill: () => one.stop('SIGKILL'),
      wipe: () => one.wipe(),
      snapshot: () => one.snapshot(),
      restore: () => one.restore(),
      pause: () => one.pause(),
      resume: () => one.resume(),
      partition: () => one.partition(),
      heal: () => one.heal(),
      slow: () => one.slow(64),
      unslow: () => one.slow(0),
    },
    verb,
    `etcd of ${rest}`,
  );
}

/** Without another cluster: cut off from all of the lab's others. */
export async function partition(
  invocation: Invocation,
  [target, verb, other]: readonly string[],
): Promise<void> {
  const { name, rest } = splitPlace(target!);
  const { way } = invocation.options;
  if (way !== 'to' && way !== 'from' && way !== 'both')
    throw new CliError('bad-usage', 'a way is to, from or both', { field: '--way', value: way });
  await using lab = openLab(name);
  const others = lab.clusters.map(({ plan }) => plan.name).filter((each) => each !== rest);
  const against = other === undefined ? others : [other];
  const each = (work: (one: string) => Promise<void>) => async (): Promise<void> => {
    for (const one of against) await work(one);
  };
  await run(
    invocation,
    {
      cut: each((one) => lab.partition(rest, one, way)),
      mend: each((one) => lab.mend(rest, one, way)),
    },
    verb,
    `${rest} and ${against.join(', ')}`,
  );
}

export async function cable(
  invocation: Invocation,
  [target, verb]: readonly string[],
): Promise<void> {
  const { name, rest } = splitPlace(target!);
  const device = String(invocation.options.device);
  await using lab = openLab(name);
  await run(
    invocation,
    { up: () => lab.cable(rest, 'up', device), down: () => lab.cable(rest, 'down', device) },
    verb,
    `${device} of ${rest}`,
  );
}

export async function pod(
  invocation: Invocation,
  [target, verb]: readonly string[],
): Promise<void> {
  const { name, rest } = splitPlace(target!);
  const grace = Number(invocation.options.grace);
  if (!(grace >= 0 && grace <= 3600))
    throw new CliError('bad-usage', 'the grace is a number of seconds from 0 to 3600', {
      field: '--grace',
      value: invocation.options.grace,
    });
  await using lab = openLab(name);
  await run(
    invocation,
    {
      ready: () => lab.setReady(rest, true),
      unready: () => lab.setReady(rest, false),
      stop: () => lab.removePod(rest, grace * 1000),
      move: async () => {
        await lab.movePod(rest, nodeToMoveTo(invocation));
      },
    },
    verb,
    rest,
  );
}

function nodeToMoveTo({ options }: Invocation): string {
  if (typeof options.to === 'string') return options.to;
  throw new CliError('bad-usage', 'move takes the node to move to', {
    field: '--to',
    value: options.to,
    hint: 'causeway lab pod NAME/CLUSTER/NAMESPACE/POD move --to NODE',
  });
}
