export { StandInKubeServer } from './kube-server.ts';
export { RecordingSink } from './recording-sink.ts';
export { CLUSTER, instanceOn, keysOf, Reader, Scratch, settings, until } from './world.ts';
