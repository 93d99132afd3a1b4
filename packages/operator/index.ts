export { type ClaimView, claimViews, switchAddress } from './src/claims/views.ts';
export { type OperatorConfig, operatorConfig } from './src/config.ts';
export { type RunOptions, runOperator } from './src/daemon.ts';
export { OperatorError, type OperatorErrorCode } from './src/errors.ts';
export { atWork } from './src/mesh-join/at-work.ts';
export { acceptReturn, type RenewReport, renewPeer, returnToken } from './src/mesh-join/by-hand.ts';
export { JoinClient } from './src/mesh-join/client.ts';
export { readOwnSide } from './src/mesh-join/facts.ts';
export {
  type JoiningOptions,
  type JoinReport,
  joinMesh,
  joinOneWay,
} from './src/mesh-join/joining.ts';
export { type LeaveReport, leaveMesh, type Swept, sweepPeers } from './src/mesh-join/leaving.ts';
export { type Recovered, recoverJoins } from './src/mesh-join/recovery.ts';
export { giveToken, listTokens } from './src/mesh-join/tokens.ts';
export { viewPeer } from './src/mesh-join/view.ts';
export { toldServices } from './src/mesh-services/views.ts';
export { requestRelease } from './src/requests.ts';
export { type DrainReport, drainReport } from './src/views/drain.ts';
export { planView } from './src/views/plan.ts';
export { type NodeView, nodeViews, type PoolView, poolViews } from './src/views/pools.ts';
export { type AddressReport, whyAddress } from './src/views/why.ts';
export { readWorld, type World } from './src/views/world.ts';
