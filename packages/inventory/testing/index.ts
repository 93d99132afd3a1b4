export { RecordingSink } from './recording-sink.ts';
