/** The X.509 library, behind the polyfill that its dependency injection needs first. */
import 'reflect-metadata';

export * as x509 from '@peculiar/x509';
