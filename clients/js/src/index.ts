export { GatewayClient, type GatewayOptions, type TokenFunction } from "./client.js";
export type { Meta, Resync, State, StateChange } from "./effects.js";
export { GatewayError, Unauthorized, type ErrorDetails } from "./errors.js";
export * from "./generated/events.js";
export type { Heard, Listener } from "./listeners.js";
export type { Timing } from "./options.js";
export type { WebSocketClass, WebSocketLike } from "./socket.js";
export { sessionStore, type Store } from "./store.js";
