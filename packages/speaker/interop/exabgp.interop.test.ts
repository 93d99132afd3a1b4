// The real `causeway speaker` against the real ExaBGP, in namespaces of their own.

import { exabgp } from '../testing/interop/exabgp.ts';
import { interopTests } from '../testing/interop/scenarios.ts';

interopTests(exabgp);
