// What the compiler must accept, and must not: `npm run check` is the test.
import assert from "node:assert/strict";
import { test } from "node:test";

import { GatewayClient, GatewayError, type State } from "@gatewayd/client";

declare module "@gatewayd/client" {
  interface Events {
    "poll.close": { pollId: string };
  }
}

test("events have types, of the platform, of the client, and of the application's own", () => {
  const client = new GatewayClient({ url: "ws://gateway.test/", userId: "u1", token: "t0" });
  const state: State = client.state;
  assert.equal(state, "idle");
  client.on("message.create", ({ id, content, more }, { guildId }) => {
    const required: string = id;
    // @ts-expect-error it may be missing
    const optional: string = content;
    const open: unknown = more;
    return [required, optional, open, guildId];
  });
  client.on("poll.close", ({ pollId }) => pollId.length);
  client.on("error", (error: GatewayError) => error.code);
  client.on("resync", ({ guildIds }) => guildIds.length);
  client.on("something.new", (data: unknown) => data);
  // @ts-expect-error a state has no guilds
  client.on("state", ({ guildIds }) => guildIds);
  // @ts-expect-error the token is missing
  assert.ok(() => new GatewayClient({ url: "ws://gateway.test/", userId: "u1" }));
});
