export { OurRouter, type OursStart } from './interop/ours.ts';
export { type CableEnd, cable, Namespace } from './namespaces.ts';
export { DaemonProcess, eventually, output, type Usage } from './process.ts';
export {
  type ExabgpStart,
  type FrrStart,
  type RunningRouter,
  type Start,
  startBird,
  startExabgp,
  startFrr,
  startGobgp,
  startOpenbgpd,
} from './routers/start.ts';
