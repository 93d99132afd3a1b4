import { inParallel, type Lab, LabError, openLab } from '@causeway/lab';
import { printJson, printLine, printTable } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';

interface ProgramRow {
  readonly place: string;
  readonly program: string;
  readonly pid: number | undefined;
  /** What is missing; undefined when nothing is. */
  readonly missing: string | undefined;
}

interface SessionRow {
  readonly place: string;
  readonly neighbor: string;
  readonly address: string;
  readonly asn: number | undefined;
  readonly state: string;
  readonly received: number | undefined;
}

/** Routers and nodes with their programs and sessions, each as it sees itself. */
export async function status({ json }: Invocation, [name]: readonly string[]): Promise<void> {
  await using lab = openLab(name!);
  const agents = lab.clusters.flatMap((cluster) => cluster.agents);
  const programs: ProgramRow[] = [
    ...lab.routers.flatMap((router) =>
      Object.keys(router.logs).map((program) => ({
        place: router.name,
        program,
        pid: undefined,
        missing: router.running.includes(program) ? undefined : 'it does not run',
      })),
    ),
    ...(await inParallel(
      [
        ...lab.clusters.flatMap((cluster) => cluster.operators),
        ...agents.flatMap((agent) => agent.programs),
      ],
      8,
      async (program) => ({
        place: program.place,
        program: program.name,
        pid: program.pid,
        missing: await program.missing().catch(words),
      }),
    )),
  ];
  const sessions = (
    await inParallel(
      [
        ...lab.routers.map((router) => ({ place: router.name, ask: () => router.sessions() })),
        ...agents
          .filter((agent) => agent.speaker?.pid !== undefined)
          .map((agent) => ({ place: agent.node.name, ask: () => agent.sessions() })),
      ],
      4,
      async ({ place, ask }): Promise<SessionRow[]> => {
        const found = await ask().catch((error: unknown) => {
          if (error instanceof LabError) return [];
          throw error;
        });
        return found.map(({ remote, asn, state, received }) => ({
          place,
          neighbor: ownerOf(lab, remote),
          address: remote,
          asn,
          state,
          received,
        }));
      },
    )
  ).flat();
  if (json) return printJson({ programs, sessions });
  printTable(
    programs,
    [
      { heading: 'PLACE', cell: (row) => row.place },
      { heading: 'PROGRAM', cell: (row) => row.program },
      { heading: 'STATE', cell: (row) => row.missing ?? 'ready' },
    ],
    'nothing runs here',
  );
  if (sessions.length === 0) return;
  printLine('');
  printTable(
    sessions,
    [
      { heading: 'PLACE', cell: (row) => row.place },
      { heading: 'NEIGHBOUR', cell: (row) => row.neighbor },
      { heading: 'ADDRESS', cell: (row) => row.address },
      { heading: 'AS', cell: (row) => row.asn },
      { heading: 'SESSION', cell: (row) => row.state },
      { heading: 'ROUTES', cell: (row) => row.received },
    ],
    'no sessions',
  );
}

function ownerOf(lab: Lab, address: string): string {
  const place = lab.context.state.plan.places.find(({ devices }) =>
    devices.some((device) => device.addresses.some((each) => each.address === address)),
  );
  return place?.place ?? '?';
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
