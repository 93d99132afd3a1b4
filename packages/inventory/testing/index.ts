export { Scratch, until } from './process.ts';
export { RecordingSink } from './recording-sink.ts';
export { CLUSTER, instanceOn, keysOf, Reader, settings } from './world.ts';
