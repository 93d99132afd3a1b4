export { type DownReport, destroyLab } from './src/down.ts';
export { LabError, type LabErrorCode, type LabFileIssue } from './src/errors.ts';
export { type LoadedLab, loadLab, shippedLabs } from './src/file/load.ts';
export { parseLabFile } from './src/file/parse.ts';
export type { LabFile, Serve } from './src/file/schema.ts';
export { nodePaths, nodePrograms, type ProgramName, storePaths } from './src/host/names.ts';
export type { CommandOptions, CommandResult } from './src/host/process.ts';
export { inParallel, type Missing, until } from './src/host/wait.ts';
export { Lab, type LabClusterFace, openLab, type PartitionWay } from './src/lab.ts';
export { planLab } from './src/plan/plan.ts';
export type {
  ClusterPlan,
  HostPlan,
  LabPlan,
  NodePlan,
  OperatorPlan,
  PodPlan,
  RouterPlan,
} from './src/plan/types.ts';
export type { RouterSession } from './src/routers/daemon.ts';
export type { LabAgent } from './src/run/agents.ts';
export { Attempts, type AttemptsResult } from './src/run/attempts.ts';
export type { Place } from './src/run/context.ts';
export { podPlace } from './src/run/context.ts';
export type { LabEtcd } from './src/run/etcd.ts';
export type { FlowCount } from './src/run/flow-client.ts';
export { FlowServers, type FlowSum, Flows, sumFlows } from './src/run/flows.ts';
export type { LabInventory } from './src/run/inventories.ts';
export { joinClusters, runMesh } from './src/run/joining.ts';
export type { Kubelet } from './src/run/kubelet.ts';
export {
  echoServers,
  Load,
  type LoadResult,
  type LoadTarget,
  loadInWords,
} from './src/run/load.ts';
export type { LabOperator } from './src/run/operators.ts';
export type { LabProgram, StartOptions } from './src/run/program.ts';
export type { KernelRoute, LabRouter } from './src/run/routers.ts';
export type { Traffic, TrafficOptions, TrafficResult } from './src/run/traffic.ts';
export { isBeingBuilt, type LabState, labNames, readState } from './src/state.ts';
export { buildLab, type UpOptions, upLab } from './src/up.ts';
