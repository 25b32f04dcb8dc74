import assert from "node:assert/strict";
import { test } from "node:test";

import {
  GatewayClient,
  GatewayError,
  type GatewayOptions,
  type StateChange,
  type WebSocketLike,
} from "@gatewayd/client";

/** A socket that the test holds the other end of. */
class Wire implements WebSocketLike {
  static made: Wire[] = [];
  onopen: (() => unknown) | null = null;
  onmessage: ((event: { data: unknown }) => unknown) | null = null;
  onerror: ((event: { message?: string }) => unknown) | null = null;
  onclose: ((event: { code: number; reason: string }) => unknown) | null = null;
  readonly sent: { event: string; data: Record<string, unknown> }[] = [];
  closed: number | undefined;

  constructor(readonly url: string) {
    Wire.made.push(this);
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as (typeof this.sent)[number]);
  }

  close(code?: number): void {
    this.closed = code ?? 1000;
  }

  say(event: string, data: unknown = {}, more: object = {}): void {
    this.onmessage?.({ data: JSON.stringify({ event, data, ...more }) });
  }

  live(): void {
    this.onopen?.();
    this.say("ready", { heartbeatInterval: 30_000 });
    this.say("identified", { guildIds: ["g1"], denied: [], lastEventId: "0-0" });
  }
}

function made(options: Partial<GatewayOptions> = {}): [GatewayClient, () => Wire] {
  Wire.made = [];
  const client = new GatewayClient({
    url: "ws://gateway.test/",
    userId: "u1",
    token: "t0",
    guildIds: ["g1"],
    WebSocket: Wire,
    ...options,
  });
  const wire = (): Wire => {
    const last = Wire.made.at(-1);
    assert.ok(last, "no socket was opened");
    return last;
  };
  return [client, wire];
}

test("connect resolves when the first session is live, and is one promise until then", async () => {
  const [client, wire] = made();
  const connected = client.connect();
  assert.equal(client.connect(), connected);
  assert.equal(client.state, "connecting");
  wire().live();
  await connected;
  assert.equal(client.state, "ready");
  assert.deepEqual(client.guildIds, ["g1"]);
  assert.equal(Wire.made.length, 1);
  client.close();
  assert.equal(wire().closed, 1000);
});

test("connect rejects with what ended the client, and may be left alone", async () => {
  const [client, wire] = made();
  client.on("error", () => undefined);
  const connected = client.connect();
  wire().onopen?.();
  wire().onclose?.({ code: 4001, reason: "too many unknown events" });
  await assert.rejects(connected, (error: GatewayError) => {
    assert.equal(error.code, "closed");
    assert.equal(error.closeCode, 4001);
    return true;
  });
  const again = client.connect();
  client.close();
  await assert.rejects(again, { code: "closed" });
});

test("a listener that fails, now or later, harms no other and is told as an error", async () => {
  const [client, wire] = made();
  const heard: unknown[] = [];
  const errors: GatewayError[] = [];
  client.on("error", (error) => errors.push(error));
  client.on("message.create", () => {
    throw new RangeError("now");
  });
  client.on("message.create", async () => {
    throw new RangeError("later");
  });
  client.on("message.create", (data, { id }) => heard.push([data.id, id]));
  void client.connect();
  wire().live();
  wire().say("message.create", { id: "m1" }, { id: "1-0" });
  await Promise.resolve();
  assert.deepEqual(heard, [["m1", "1-0"]]);
  assert.deepEqual(errors.map(({ code, cause }) => [code, String(cause)]), [
    ["listener_failed", "RangeError: now"],
    ["listener_failed", "RangeError: later"],
  ]);
  assert.equal(client.lastEventId, "1-0");
  client.close();
});

test("a listener may call back, and is served after what is under way", () => {
  const [client, wire] = made();
  const changes: string[] = [];
  client.on("message.create", () => client.close());
  client.on("message.create", () => changes.push("second listener"));
  client.on("state", ({ state }: StateChange) => changes.push(state));
  void client.connect();
  wire().live();
  wire().say("message.create", {}, { id: "1-0" });
  wire().say("message.create", {}, { id: "2-0" });
  const expected = ["connecting", "identifying", "ready", "second listener", "closed"];
  assert.deepEqual(changes, expected);
  assert.equal(client.lastEventId, "1-0");
});

test("a listener that was removed is not called", () => {
  const [client, wire] = made();
  const heard: string[] = [];
  const remove = client.on("*", (_, { name }) => heard.push(name));
  void client.connect();
  wire().live();
  wire().say("one");
  remove();
  remove();
  wire().say("two");
  assert.deepEqual(heard, ["one"]);
  client.close();
});

test("a store that fails is told as an error, and costs nothing else", () => {
  const [client, wire] = made({
    store: {
      load: () => null,
      save: () => {
        throw new Error("quota");
      },
    },
  });
  const codes: string[] = [];
  client.on("error", ({ code }) => codes.push(code));
  void client.connect();
  wire().live();
  assert.deepEqual(codes, ["store_failed"]);
  assert.equal(client.state, "ready");
  client.close();
});

test("a socket that cannot even be made is a failed attempt", () => {
  class Forbidden extends Wire {
    constructor(url: string) {
      super(url);
      throw new DOMException("insecure", "SecurityError");
    }
  }
  const [client] = made({ WebSocket: Forbidden });
  const changes: StateChange[] = [];
  client.on("state", (change) => changes.push(change));
  client.on("error", () => undefined);
  void client.connect();
  assert.equal(changes.at(-1)?.state, "waiting");
  assert.equal(changes.at(-1)?.error?.code, "unreachable");
  client.close();
});

test("a socket that was left is heard no more, whatever it still says", () => {
  const [client, wire] = made();
  const heard: unknown[] = [];
  client.on("*", (data) => heard.push(data));
  void client.connect();
  wire().live();
  client.close();
  wire().say("message.create", {}, { id: "1-0" });
  wire().onclose?.({ code: 4001, reason: "" });
  assert.deepEqual(heard, []);
  assert.equal(client.state, "closed");
});

test("options that cannot work are refused at once", () => {
  for (const wrong of [
    { url: "http://gateway.test/" },
    { userId: "" },
    { guildIds: ["x".repeat(65)] },
    { token: "" },
  ]) {
    assert.throws(() => made(wrong), TypeError);
  }
});

test("an error that nobody listens for is written to the console", (context) => {
  const warn = context.mock.method(console, "warn", () => undefined);
  const [client, wire] = made();
  void client.connect();
  wire().onclose?.({ code: 1006, reason: "" });
  assert.equal(warn.mock.callCount(), 1);
  client.close();
});
