// The real `causeway speaker` against the real OpenBGPD, in namespaces of their own.

import { openbgpd } from '../testing/interop/openbgpd.ts';
import { interopTests } from '../testing/interop/scenarios.ts';

interopTests(openbgpd);
