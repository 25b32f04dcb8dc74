import assert from "node:assert/strict";
import { test } from "node:test";

import { Allowance, Backoff } from "../src/backoff.js";
import { Bookmark } from "../src/bookmark.js";
import { Core } from "../src/core.js";
import type { Effect, Input } from "../src/effects.js";
import { Liveness } from "../src/liveness.js";
import { checkedId, TIMING } from "../src/options.js";
import { retryAfter } from "../src/upgrades.js";
import { read } from "../src/words.js";

/** A small generator of numbers, so that a failure can be repeated. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return Math.floor((state / 2 ** 32) * below);
  };
}

test("a wait is drawn from all of a bound that doubles up to the last", () => {
  const highest = new Backoff(1, 10, () => 1);
  assert.deepEqual(Array.from({ length: 6 }, () => highest.next()), [1, 2, 4, 8, 10, 10]);
  highest.reset();
  assert.equal(highest.next(), 1);
  assert.equal(new Backoff(8, 10, () => 0.25).next(), 2);
});

test("an allowance gives again at the moment it named, and not long before", () => {
  const allowance = new Allowance(2, 1);
  assert.deepEqual([1, 2, 3].map(() => allowance.take(5_000)), [true, true, false]);
  const again = allowance.next();
  assert.ok(again >= 6_000 && again < 6_010);
  assert.equal(allowance.take(again - 100), false);
  assert.equal(allowance.take(again), true);
});

test("each event is heard once and in order, however often the connection is lost", () => {
  for (let seed = 0; seed < 300; seed += 1) {
    const draw = numbers(seed);
    const log = ["0-0"];
    const heard: string[] = [];
    const bookmark = new Bookmark();
    bookmark.identified("0-0", undefined);
    let [sent, beat, live] = [0, 0, true];
    const head = (): string => log.at(-1) ?? "";
    const send = (): void => {
      sent += 1;
      live ||= sent === log.length - 1;
      const id = log[sent] ?? "";
      if (bookmark.event(id)) heard.push(id);
    };
    for (let step = 0; step < 80; step += 1) {
      const action = draw(4);
      if (action === 0) {
        log.push(`${log.length}-0`);
        if (live) send();
      } else if (action === 1 && !live) {
        send();
      } else if (action === 2 && (live || sent > beat)) {
        beat = sent;
        bookmark.heartbeat(head());
      } else if (action === 3) {
        sent = beat = log.indexOf(bookmark.last ?? "");
        const replayed = log.length - 1 - sent;
        live = !replayed;
        bookmark.identified(head(), { recovered: true, replayed, resync: [] });
      }
    }
    while (!live) send();
    assert.deepEqual(heard, log.slice(1), `seed ${seed}`);
  }
});

test("a gateway is asked before it is given up, and any word of it is an answer", () => {
  const liveness = new Liveness(1000, 300, 0);
  assert.equal(liveness.check(1249), undefined);
  assert.equal(liveness.check(1250), "ask");
  assert.equal(liveness.check(1549), undefined);
  liveness.heard(1549);
  assert.equal(liveness.check(1550), undefined);
  assert.equal(liveness.check(99_999), "ask");
  assert.equal(liveness.check(199_999), "dead");
});

test("Retry-After is understood as seconds and as a date", () => {
  const date = "Wed, 21 Oct 2015 07:28:00 GMT";
  assert.equal(retryAfter("120", 0), 120_000);
  assert.equal(retryAfter(date, Date.parse(date) - 30_000), 30_000);
  assert.equal(retryAfter(date, Date.parse(date) + 1), 0);
  for (const nonsense of [undefined, "", "soon"]) assert.equal(retryAfter(nonsense, 0), undefined);
});

test("ids are counted as the gateway counts them", () => {
  assert.equal(checkedId("🦊".repeat(64)), "🦊".repeat(64));
  for (const wrong of ["", "x".repeat(65), "🦊".repeat(65), 5, null]) {
    assert.throws(() => checkedId(wrong), TypeError);
  }
});

test("no text is read as a message that is none", () => {
  for (const text of ["", "nonsense", "[]", "5", "null", '{"event":5}', new ArrayBuffer(2)]) {
    assert.equal(read(text), undefined);
  }
  assert.deepEqual(read('{"event":"x","id":7}'), {
    event: "x",
    data: undefined,
    id: undefined,
    guildId: undefined,
  });
});

test("whatever happens, a client waits for something, has one socket and one call for a token", () => {
  const data = {
    guildIds: ["g1"],
    denied: [{ guildId: "g2", reason: "unavailable" }],
    lastEventId: "3-0",
    retryAfter: 100,
    guildId: "g2",
    event: "guild_subscribe",
    code: "unavailable",
    heartbeatInterval: 1000,
  };
  const events = [
    ...["ready", "identified", "heartbeat", "heartbeat_ack", "guild_subscribed", "reconnect"],
    ...["guild_unsubscribed", "error", "token_expiring", "message.create"],
  ];
  for (let seed = 0; seed < 300; seed += 1) {
    const draw = numbers(seed);
    const identity = { userId: "u1", token: undefined, events: undefined, client: undefined };
    const core = new Core(identity, ["g1"], TIMING, () => 0.5, undefined);
    let [now, attempt, calls, refs, tokens] = [0, 0, 0, 0, 0];
    let socket = false;
    const settled: number[] = [];
    const take = (input: Input): void => {
      if (input.is === "lost" && input.attempt === attempt) socket = false;
      const done: Effect[] = core.receive(input, now);
      for (const effect of done) {
        if (effect.do === "open") {
          assert.ok(!socket, "a second socket");
          socket = true;
          attempt = effect.attempt;
        } else if (effect.do === "drop") {
          assert.ok(socket, "no socket to drop");
          socket = false;
        } else if (effect.do === "ask") {
          calls += 1;
          assert.equal(calls, 1, "a second call for a token");
        } else if (effect.do === "settle") {
          settled.push(effect.ref);
        }
      }
    };
    take({ is: "connect" });
    for (let step = 0; step < 60; step += 1) {
      now += draw(60_000) - 5_000;
      const some = attempt - draw(2);
      const guildId = `g${draw(3)}`;
      const text = JSON.stringify({ event: events[draw(events.length)], id: "7-0", data });
      const code = [1000, 1006, 4004, 4006, 4008, 4020][draw(6)] ?? 0;
      const inputs: Input[] = [
        { is: "tick" },
        { is: "awake" },
        { is: "connect" },
        { is: "network", online: draw(2) > 0 },
        { is: "want", guildId, ref: refs + 1 },
        { is: "leave", guildId, ref: refs + 1 },
        { is: "opened", attempt: some },
        { is: "text", attempt: some, text },
        { is: "text", attempt: some, text },
        { is: "lost", attempt: some, code, reason: "" },
        { is: "token", value: `token ${(tokens += 1)}` },
      ];
      const input = inputs[draw(inputs.length)];
      if (!input || (input.is === "token" && !calls)) continue;
      if (input.is === "token") calls = 0;
      if ("ref" in input) refs += 1;
      take(input);
      if (core.state !== "closed") assert.ok(core.wait < Infinity, `seed ${seed}: stuck`);
    }
    take({ is: "close" });
    assert.deepEqual(settled.sort((a, b) => a - b), Array.from({ length: refs }, (_, i) => i + 1));
    assert.equal(core.wait, Infinity);
    assert.ok(!socket);
  }
});
