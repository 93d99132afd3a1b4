import { Catalogue } from './catalogue.ts';
import type { Parsed } from './errors.ts';
import type { Service, ServiceRef } from './model.ts';
import {
  type EndpointSlice,
  parseEndpointSlice,
  parsePod,
  type ServingPod,
} from './parse-endpoints.ts';
import { parseService } from './parse-service.ts';

/** What takes services, slices and pods of the own cluster in, as the API has them. */
export abstract class ServiceIntake {
  protected readonly catalogue: Catalogue;

  constructor(resolveSelectors: boolean) {
    this.catalogue = new Catalogue(resolveSelectors);
  }

  /** Takes an object in, or says what is wrong with it; refused, it changes nothing. */
  applyService(object: unknown): Parsed<Service> {
    const parsed = parseService(object);
    if (parsed.ok) this.catalogue.setService(parsed.value);
    return parsed;
  }

  deleteService(ref: ServiceRef): void {
    this.catalogue.deleteService(ref);
  }

  applyEndpointSlice(object: unknown): Parsed<EndpointSlice> {
    const parsed = parseEndpointSlice(object);
    if (parsed.ok) this.catalogue.setSlice(parsed.value);
    return parsed;
  }

  deleteEndpointSlice(ref: ServiceRef): void {
    this.catalogue.deleteSlice(ref);
  }

  applyPod(object: unknown): Parsed<ServingPod> {
    const parsed = parsePod(object);
    if (parsed.ok) this.catalogue.setPod(parsed.value);
    return parsed;
  }

  deletePod(ref: ServiceRef): void {
    this.catalogue.deletePod(ref);
  }
}
