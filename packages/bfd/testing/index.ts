export { type LoadedBfd, type LoadResult, runLoaded } from './load.ts';
export { type ForeignBfd, type ForeignSession, startBird, startFrr } from './routers.ts';
export { eventually, far, ours, Site, theirs } from './site.ts';
export { randomFrom, TwoSystems } from './two-systems.ts';
