import { Core } from "./core.js";
import type { Effect, Input, Meta, State, StateChange } from "./effects.js";
import { GatewayError, Unauthorized } from "./errors.js";
import { Listeners, type Heard, type Listener } from "./listeners.js";
import { checkedId, TIMING, type Timing } from "./options.js";
import { watch } from "./signals.js";
import { Socket, type WebSocketClass } from "./socket.js";
import type { Store } from "./store.js";

/**
 * Asked for each attempt's token, and for a fresh one when that expires. It is called again only
 * when it has answered. It may throw `Unauthorized`: then the client closes.
 */
export type TokenFunction = () => string | Promise<string>;

export interface GatewayOptions {
  /** Such as `wss://gateway.example.com/`. */
  url: string;
  userId: string;
  token: string | TokenFunction;
  /** To hear from the beginning. */
  guildIds?: Iterable<string>;
  /** What to hear: names, or prefixes such as `message.*`, with `!` to leave out. */
  events?: Iterable<string>;
  /** Free text for the gateway's `/stats`. */
  client?: string;
  /** Where an earlier client left off. */
  lastEventId?: string;
  /** Keeps that; what it holds comes before `lastEventId`. */
  store?: Store;
  timing?: Partial<Timing>;
  /** Instead of the platform's; that of the package `ws` tells more of a refused upgrade. */
  WebSocket?: WebSocketClass;
  /** Instead of `Math.random`. */
  random?: () => number;
  /** Instead of `performance.now`: milliseconds of a steady clock. */
  clock?: () => number;
}

/** What timers can count to; longer ones would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

interface Settler {
  resolve(): void;
  reject(error: GatewayError): void;
}

/** A client that stays connected. */
export class GatewayClient {
  readonly url: string;
  readonly #options: GatewayOptions;
  readonly #core: Core;
  readonly #clock: () => number;
  readonly #listeners = new Listeners((name, error) => this.#listenerFailed(name, error));
  readonly #settlers = new Map<number, Settler>();
  #refs = 0;
  #effects: Effect[] = [];
  #performing = false;
  #socket: Socket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #unwatch: (() => void) | undefined;
  #connected: Promise<void> | undefined;
  #connecting: Settler | undefined;

  constructor(options: GatewayOptions) {
    const { token, timing, store } = options;
    if (!token) throw new TypeError("the token is a string, or a function that gives one");
    this.url = checkedUrl(options.url);
    this.#options = options;
    this.#clock = options.clock ?? (() => performance.now());
    this.#core = new Core(
      {
        userId: checkedId(options.userId),
        token: typeof token === "string" ? token : undefined,
        events: options.events && [...options.events],
        client: options.client,
      },
      [...(options.guildIds ?? [])].map(checkedId),
      { ...TIMING, ...timing },
      options.random ?? Math.random,
      store?.load() ?? options.lastEventId,
    );
  }

  /** Where the client is. */
  get state(): State {
    return this.#core.state;
  }

  /** From where the next session would resume. */
  get lastEventId(): string | undefined {
    return this.#core.lastEventId;
  }

  /** The guilds that the session hears now. */
  get guildIds(): string[] {
    return this.#core.guildIds;
  }

  /**
   * Call a listener for every event of that name: `*` for all events of the platform; `state`,
   * `resync`, `error`, `guild_subscribed` or `guild_unsubscribed` for what the client itself has
   * to say. Answers with a function that ends it.
   */
  on<Name extends keyof Heard>(name: Name, listener: Listener<Heard[Name]>): () => void;
  on(name: string, listener: Listener<unknown>): () => void;
  on(name: string, listener: Listener<never>): () => void {
    return this.#listeners.add(name, listener);
  }

  /**
   * Connect, and stay connected until `close`. The promise is for whoever wants to know: it
   * resolves when the first session is live, and rejects if there will be none.
   */
  connect(): Promise<void> {
    if (!this.#connected) {
      this.#connected = new Promise((resolve, reject) => {
        this.#connecting = { resolve, reject };
      });
      // Nobody has to look at it: what went wrong is told by events as well.
      this.#connected.catch(() => undefined);
      this.#unwatch ??= watch(this);
    }
    const connected = this.#connected;
    this.#receive({ is: "connect" });
    return connected;
  }

  /** Be closed, now. */
  close(): void {
    this.#receive({ is: "close" });
  }

  /**
   * Hear a guild, on this connection and every later one. Resolves when it is heard; rejects if
   * the gateway denies it, or the client closes.
   */
  subscribe(guildId: string): Promise<void> {
    return this.#settled("want", guildId);
  }

  /** Hear a guild no more. Resolves when no event of it will follow. */
  unsubscribe(guildId: string): Promise<void> {
    return this.#settled("leave", guildId);
  }

  /** Tell what is known of the network. In browsers the client listens for itself. */
  network(online: boolean): void {
    this.#receive({ is: "network", online });
  }

  /** Tell that the machine has slept. In browsers the client watches for itself. */
  awake(): void {
    this.#receive({ is: "awake" });
  }

  #settled(is: "want" | "leave", guildId: string): Promise<void> {
    const guild = checkedId(guildId);
    const ref = (this.#refs += 1);
    const settled = new Promise<void>((resolve, reject) => {
      this.#settlers.set(ref, { resolve, reject });
    });
    this.#receive({ is, guildId: guild, ref });
    return settled;
  }

  // ---------------------------------------------------------- the core's shell

  #receive(input: Input): void {
    this.#effects.push(...this.#core.receive(input, this.#clock()));
    // A listener that calls back is served after what is under way.
    if (this.#performing) return;
    this.#performing = true;
    for (let effect = this.#effects.shift(); effect; effect = this.#effects.shift()) {
      this.#perform(effect);
    }
    this.#performing = false;
    clearTimeout(this.#timer);
    const wait = this.#core.wait;
    if (wait < Infinity) {
      const rounded = Math.min(Math.ceil(wait), LONGEST_TIMER);
      this.#timer = setTimeout(() => this.#receive({ is: "tick" }), rounded);
    }
  }

  #perform(effect: Effect): void {
    switch (effect.do) {
      case "emit":
        this.#tell(effect.data, effect.meta, effect.local);
        break;
      case "send":
        this.#socket?.send(effect.text);
        break;
      case "open":
        this.#open(effect.attempt);
        break;
      case "drop":
        this.#socket?.drop(effect.code, effect.reason);
        this.#socket = undefined;
        break;
      case "settle":
        this.#settle(effect.ref, effect.error);
        break;
      case "ask":
        void this.#ask();
        break;
      case "keep":
        this.#keep(effect.lastEventId);
        break;
    }
  }

  #open(attempt: number): void {
    this.#socket = new Socket(this.#options.WebSocket, this.url, {
      opened: () => this.#receive({ is: "opened", attempt }),
      text: (text) => this.#receive({ is: "text", attempt, text }),
      lost: (code, reason, error) => this.#receive({ is: "lost", attempt, code, reason, error }),
    });
  }

  #tell(data: unknown, meta: Meta, local: boolean): void {
    if (local && meta.name === "error" && !this.#listeners.any("error")) {
      console.warn("gatewayd:", data);
    }
    this.#listeners.tell(data, meta, local);
    if (local && meta.name === "state") this.#became(data as StateChange);
  }

  #became({ state, error }: StateChange): void {
    if (state === "ready") {
      this.#connecting?.resolve();
    } else if (state === "closed") {
      this.#connecting?.reject(error ?? new GatewayError("closed", "the client is closed"));
      this.#connected = undefined;
      this.#unwatch?.();
      this.#unwatch = undefined;
    }
  }

  #settle(ref: number, error: GatewayError | undefined): void {
    const settler = this.#settlers.get(ref);
    this.#settlers.delete(ref);
    if (error) settler?.reject(error);
    else settler?.resolve();
  }

  async #ask(): Promise<void> {
    try {
      const value = await (this.#options.token as TokenFunction)();
      if (typeof value !== "string" || !value) throw new TypeError("it returned no token");
      this.#receive({ is: "token", value });
    } catch (cause) {
      const final = cause instanceof Unauthorized;
      const code = final ? "unauthorized" : "token_failed";
      // The words of what it threw are the application's own, and may hold what no log should.
      const error = new GatewayError(code, "the token function failed", { cause });
      this.#receive({ is: "noToken", error, final });
    }
  }

  #keep(lastEventId: string): void {
    try {
      this.#options.store?.save(lastEventId);
    } catch (cause) {
      this.#report(new GatewayError("store_failed", "the store failed", { cause }));
    }
  }

  #listenerFailed(name: string, cause: unknown): void {
    if (name === "error") console.warn("gatewayd: a listener for errors failed", cause);
    else this.#report(new GatewayError("listener_failed", `a listener for ${name} failed`, { cause }));
  }

  #report(error: GatewayError): void {
    this.#tell(error, { name: "error", id: undefined, guildId: undefined }, true);
  }
}

function checkedUrl(url: string): string {
  if (!/^wss?:\/\/[^/]/i.test(url)) {
    throw new TypeError("expected a URL such as wss://gateway.example.com/");
  }
  return url;
}
