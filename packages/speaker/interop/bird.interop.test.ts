// The real `causeway speaker` against the real BIRD, in namespaces of their own.

import { bird } from '../testing/interop/bird.ts';
import { interopTests } from '../testing/interop/scenarios.ts';

interopTests(bird);
