import type { RouterPlan } from '../plan/types.ts';
import { bird } from './bird.ts';
import type { RouterDaemon } from './daemon.ts';
import { frr } from './frr.ts';
import { gobgp } from './gobgp.ts';

export const routerDaemons: Readonly<Record<RouterPlan['daemon'], RouterDaemon>> = {
  bird,
  frr,
  gobgp,
};
