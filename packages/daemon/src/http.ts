/**
 * Node's HTTP without its facade as a module: importing that reads every name it exports, and one of them
 * loads fetch and WebSocket with it, 14 MiB that a program on every node should not have.
 */
const http = process.getBuiltinModule('node:http');

export const createServer: typeof http.createServer = http.createServer;
export const request: typeof http.request = http.request;
