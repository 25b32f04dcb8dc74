import {
  GatewayClient,
  GatewayError,
  Unauthorized,
  type GatewayOptions,
  type Timing,
  type WebSocketClass,
} from "@gatewayd/client";

/** What a case gives a client, with times in milliseconds. */
interface Options {
  userId: string;
  token: string | null;
  guildIds: string[];
  events?: string[];
  client?: string;
  lastEventId?: string;
  store?: string;
  random?: number;
  timing: Partial<Timing>;
}

interface Order {
  client: number;
  do: string;
  url: string;
  options: Options;
  guildId: string;
  as: string;
  value: string;
  fail?: "error" | "unauthorized";
  online: boolean;
  by: number;
}

type Tell = (seen: Record<string, unknown>) => void;

interface Call {
  resolve(token: string): void;
  reject(error: Error): void;
}

/** What differs from one platform to the next. */
export interface World {
  WebSocket?: WebSocketClass | undefined;
  /** Have the platform itself say so, where it can. */
  network(client: GatewayClient, online: boolean): void;
  awake(client: GatewayClient): void;
}

/** One client, which does as it is told. */
class Part {
  readonly #client: GatewayClient;
  readonly #world: World;
  readonly #tell: Tell;
  readonly #calls: Call[] = [];
  #called = 0;
  #leap = 0;

  constructor(world: World, url: string, options: Options, tell: Tell) {
    this.#world = world;
    this.#tell = tell;
    const { token, store, random, ...same } = options;
    const given: GatewayOptions = {
      ...same,
      url,
      token: token ?? (() => this.#token()),
      clock: () => performance.now() + this.#leap,
      ...(world.WebSocket && { WebSocket: world.WebSocket }),
      ...(random !== undefined && { random: () => random }),
      ...(store !== undefined && {
        store: { load: () => store, save: (id: string) => tell({ kept: id }) },
      }),
    };
    this.#client = new GatewayClient(given);
    this.#listen(this.#client);
  }

  #listen(client: GatewayClient): void {
    const tell = this.#tell;
    client.on("*", (data, { name, id = null, guildId = null }) =>
      tell({ event: name, id, guildId, data }),
    );
    client.on("state", ({ state, error }) => tell({ state, ...told(error) }));
    client.on("resync", ({ guildIds }) => tell({ resync: guildIds }));
    client.on("error", (error) => tell(told(error)));
    client.on("guild_subscribed", ({ guildId }) => tell({ guildSubscribed: guildId }));
    client.on("guild_unsubscribed", ({ guildId, reason = null }) =>
      tell({ guildUnsubscribed: guildId, reason }),
    );
  }

  #token(): Promise<string> {
    const promise = new Promise<string>((resolve, reject) => this.#calls.push({ resolve, reject }));
    this.#tell({ token: (this.#called += 1) });
    return promise;
  }

  do(order: Order): void {
    const client = this.#client;
    switch (order.do) {
      case "connect":
        void client.connect();
        break;
      case "close":
        if (client.state !== "idle") client.close();
        break;
      case "subscribe":
        this.#settle(order.as, client.subscribe(order.guildId));
        break;
      case "unsubscribe":
        this.#settle(order.as, client.unsubscribe(order.guildId));
        break;
      case "token":
        this.#answer(order);
        break;
      case "network":
        this.#world.network(client, order.online);
        break;
      case "awake":
        this.#world.awake(client);
        break;
      case "clock":
        this.#leap += order.by;
        break;
      default:
        throw new Error(`no such order: ${order.do}`);
    }
  }

  #answer({ value, fail }: Order): void {
    const call = this.#calls.shift();
    if (!call) throw new Error("the token function was not called");
    if (fail) call.reject(fail === "error" ? new Error("no token") : new Unauthorized());
    else call.resolve(value);
  }

  #settle(name: string, promise: Promise<void>): void {
    promise.then(
      () => this.#tell({ done: name, error: null }),
      (error: unknown) =>
        this.#tell({ done: name, error: error instanceof GatewayError ? error.code : String(error) }),
    );
  }
}

function told(error: GatewayError | undefined): Record<string, unknown> {
  if (!error) return { error: null };
  return { error: error.code, closeCode: error.closeCode ?? null, status: error.status ?? null };
}

/** Be told what to do over a connection to `url`, until that closes. */
export function play(
  control: WebSocket,
  driver: string,
  can: readonly string[],
  world: World,
): Promise<void> {
  const parts = new Map<number, Part>();
  const say = (message: object): void => {
    if (control.readyState === 1) control.send(JSON.stringify(message));
  };
  control.onopen = () => say({ driver, can });
  control.onmessage = ({ data }: MessageEvent<string>) => {
    const order = JSON.parse(data) as Order;
    const number = order.client;
    try {
      if (order.do === "make") {
        const tell: Tell = (saw) => say({ client: number, saw });
        parts.set(number, new Part(world, order.url, order.options, tell));
      } else {
        parts.get(number)?.do(order);
      }
    } catch (error) {
      say({ fault: `${data}: ${String(error)}` });
    }
  };
  return new Promise((resolve) => {
    control.onclose = () => resolve();
  });
}
