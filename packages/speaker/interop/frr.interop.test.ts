// The real `causeway speaker` against the real FRR, in namespaces of their own.

import { frr } from '../testing/interop/frr.ts';
import { interopTests } from '../testing/interop/scenarios.ts';

interopTests(frr);
