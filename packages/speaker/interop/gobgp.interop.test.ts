// The real `causeway speaker` against the real GoBGP, in namespaces of their own.

import { gobgp } from '../testing/interop/gobgp.ts';
import { interopTests } from '../testing/interop/scenarios.ts';

interopTests(gobgp);
