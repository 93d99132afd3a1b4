import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { LabError } from './errors.ts';
import { writeAtomically } from './host/files.ts';
import { LAB_NAME, LAB_ROOT, labDirectory } from './host/names.ts';
import { isRunning, type ProcessMark } from './host/process.ts';
import type { LabPlan, PodPlan } from './plan/types.ts';

/** Raised when the form changes; a state of another version is not guessed at. */
const STATE_VERSION = 4;

/** What later commands need to know about a lab: written before anything is built, so `down` finds all. */
export interface LabState {
  readonly version: typeof STATE_VERSION;
  readonly name: string;
  /** The process id of the `up` that built it; part of every name on the machine. */
  readonly run: number;
  readonly phase: 'building' | 'up' | 'failed';
  readonly source: string;
  /** Who is building, while the phase is `building`. */
  readonly builder: ProcessMark;
  readonly cgroupRoot: string;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly plan: LabPlan;
  /** Pods of the file, of its manifests and of later `pod add`. */
  readonly pods: readonly PodPlan[];
}

/** Only what identifies a state is checked deeply; the plan is our own writing of the same version. */
const stateShape = z.looseObject({
  version: z.literal(STATE_VERSION),
  name: z.string().regex(LAB_NAME),
  run: z.int().positive(),
  phase: z.enum(['building', 'up', 'failed']),
  source: z.string(),
  builder: z.object({ pid: z.int(), started: z.string() }),
  cgroupRoot: z.string(),
  createdAt: z.string(),
  plan: z.looseObject({
    places: z.array(z.unknown()),
    clusters: z.array(z.unknown()),
    routers: z.array(z.unknown()),
  }),
  pods: z.array(z.unknown()),
});

function statePath(lab: string): string {
  return join(labDirectory(lab), 'state.json');
}

export function writeState(state: LabState): void {
  mkdirSync(labDirectory(state.name), { recursive: true, mode: 0o700 });
  writeAtomically(statePath(state.name), JSON.stringify(state));
}

export function newStateVersion(): typeof STATE_VERSION {
  return STATE_VERSION;
}

/** Undefined when there is no such lab; throws `state-unreadable` for a state cut short or of another version. */
export function readState(lab: string): LabState | undefined {
  checkLabName(lab);
  let text: string;
  try {
    text = readFileSync(statePath(lab), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw unreadable(lab, 'is cut short or damaged', cause);
  }
  const parsed = stateShape.safeParse(value);
  if (!parsed.success) {
    const first = parsed.error.issues[0];
    throw unreadable(
      lab,
      `has a form of another version (${first?.path.join('.')}: ${first?.message})`,
    );
  }
  return value as LabState;
}

export function requireState(lab: string): LabState {
  const state = readState(lab);
  if (state === undefined)
    throw new LabError(
      'lab-not-found',
      `no lab ${lab} is up; up now: ${labNames().join(', ') || '(none)'}`,
      {
        value: lab,
        hint: 'causeway lab up NAME starts one, causeway lab ls lists them',
      },
    );
  return state;
}

/** Labs that left a state, readable or not. */
export function labNames(): string[] {
  if (!existsSync(LAB_ROOT)) return [];
  return readdirSync(LAB_ROOT, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && LAB_NAME.test(entry.name))
    .map((entry) => entry.name)
    .sort();
}

/** Whether the `up` that says it is building still runs. */
export function isBeingBuilt(state: LabState): boolean {
  return state.phase === 'building' && isRunning(state.builder);
}

export function checkLabName(lab: string): void {
  if (!LAB_NAME.test(lab))
    throw new LabError('lab-name-invalid', `${JSON.stringify(lab)} is not a lab's name`, {
      value: lab,
      hint: 'a name is 1 to 32 of a-z, 0-9 and "-", with no "-" at an end',
    });
}

function unreadable(lab: string, why: string, cause?: unknown): LabError {
  return new LabError('state-unreadable', `the state of lab ${lab} (${statePath(lab)}) ${why}`, {
    value: lab,
    hint: `causeway lab down ${lab} removes what the lab left, by its names`,
    ...(cause === undefined ? {} : { cause }),
  });
}
