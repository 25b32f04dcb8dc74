import { GatewayError } from "./errors.js";
import { retryAfter } from "./upgrades.js";

/** What is used of a WebSocket: a browser's, Node's own, or that of the package `ws`. */
export interface WebSocketLike {
  onopen: ((event: never) => unknown) | null;
  onmessage: ((event: never) => unknown) | null;
  onerror: ((event: never) => unknown) | null;
  onclose: ((event: never) => unknown) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketClass = new (url: string) => WebSocketLike;

/** What `ws` has beyond that. */
interface Informative extends WebSocketLike {
  on?(
    event: "unexpected-response",
    listener: (
      request: { destroy(): void },
      response: { statusCode?: number; headers: Record<string, string | undefined> },
    ) => void,
  ): void;
  terminate?(): void;
}

/** What is told of a socket: it opened, a message came, it ended. */
export interface Told {
  opened(): void;
  text(text: unknown): void;
  lost(code: number, reason: string, error?: GatewayError): void;
}

/** Milliseconds for a close frame to be answered, where the implementation lets us insist. */
const FAREWELL = 2_000;

let load: (() => Promise<WebSocketClass>) | undefined;

/** Where to get a WebSocket from on a platform that has none. */
export function whereMissing(loader: () => Promise<WebSocketClass>): void {
  load = loader;
}

async function missing(): Promise<WebSocketClass> {
  if (load) return load();
  throw new Error("there is no WebSocket here; pass one as the option `WebSocket`");
}

/** One attempt's connection. */
export class Socket {
  #told: Told | undefined;
  #socket: Informative | undefined;

  constructor(given: WebSocketClass | undefined, url: string, told: Told) {
    this.#told = told;
    const found = given ?? (globalThis as { WebSocket?: WebSocketClass }).WebSocket;
    if (found) this.#open(found, url);
    else missing().then((loaded) => this.#open(loaded, url), (error: unknown) => this.#failed(error));
  }

  send(text: string): void {
    this.#socket?.send(text);
  }

  /** Be done with it, whether it answers or not. Nothing more is told of it. */
  drop(code: number, reason: string): void {
    this.#told = undefined;
    const socket = this.#socket;
    if (!socket) return;
    const timer = socket.terminate && setTimeout(() => socket.terminate?.(), FAREWELL);
    socket.onclose = () => clearTimeout(timer);
    socket.close(code, reason);
  }

  #open(WebSocket: WebSocketClass, url: string): void {
    if (!this.#told) return;
    let socket: Informative;
    try {
      socket = this.#socket = new WebSocket(url);
    } catch (error) {
      this.#failed(error);
      return;
    }
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#told?.opened();
    };
    socket.onmessage = ({ data }: { data: unknown }) => this.#told?.text(data);
    // Node's own WebSocket may say nothing more of a failed handshake; of an open connection all
    // say that it closed. Without a listener `ws` would throw, also when it is done with.
    socket.onerror = ({ message }: { message?: string }) => {
      if (!opened) this.#failed(message);
    };
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
      if (opened) this.#told?.lost(code, reason);
      else this.#failed(undefined);
    };
    socket.on?.("unexpected-response", (request, { statusCode: status, headers }) => {
      request.destroy();
      const why = `the upgrade was refused with HTTP status ${status}`;
      const advice = retryAfter(headers["retry-after"], Date.now());
      const error = new GatewayError("upgrade_refused", why, { status, retryAfter: advice });
      this.#lost(error);
    });
  }

  #failed(cause: unknown): void {
    const why = cause instanceof Error ? cause.message : cause;
    this.#lost(new GatewayError("unreachable", `no connection${why ? `: ${why}` : ""}`, { cause }));
  }

  #lost(error: GatewayError): void {
    const told = this.#told;
    this.#told = undefined;
    told?.lost(1006, "", error);
  }
}
