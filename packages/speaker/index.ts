export type { StatusView } from './src/api/status.ts';
export type { BfdSession, BfdState, BfdStatus } from './src/bfd.ts';
export {
  loadProgramConfig,
  type ProgramConfig,
  type ProgramConfigInput,
  programConfig,
} from './src/config/program.ts';
export type { SpeakerConfigInput } from './src/config/schema.ts';
export { SpeakerError, type SpeakerErrorCode } from './src/errors.ts';
export type { PathInput } from './src/paths.ts';
export { type RunOptions, runSpeaker } from './src/program.ts';
export type { ChangeRow } from './src/runtime/neighbours.ts';
export type { DownView } from './src/views/down.ts';
export type { EventView } from './src/views/event.ts';
export type { FamilyView, NegotiatedView, PeerView } from './src/views/peer.ts';
export type { AttributesView, RouteView } from './src/views/route.ts';
export type { WhyView } from './src/views/why.ts';
