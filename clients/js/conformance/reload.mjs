// A page that is reloaded hears what happened meanwhile, once:
// `node reload.mjs WEBSOCKET_URL EVENTS_URL ADMIN_TOKEN USER_ID TOKEN`.
import assert from "node:assert/strict";

import { withPage } from "./chromium.mjs";

const [url, events, admin, userId, token] = process.argv.slice(2);

async function publish(number) {
  const response = await fetch(events, {
    method: "POST",
    headers: { Authorization: `Bearer ${admin}`, "Content-Type": "application/json" },
    body: JSON.stringify({ event: "message.create", guildId: "g1", data: { number } }),
  });
  assert.equal(response.status, 202);
}

await withPage("reload.js", async (page, address) => {
  const hash = encodeURIComponent(JSON.stringify({ url, userId, token }));
  const heard = async (count) => {
    await page.waitForFunction((wanted) => globalThis.heard?.length >= wanted, count);
    return page.evaluate(() => globalThis.heard);
  };
  await page.goto(`${address}#${hash}`);
  await page.waitForFunction(() => globalThis.heard !== undefined);
  await publish(1);
  assert.deepEqual(await heard(1), [{ number: 1 }]);
  await page.goto("about:blank");
  await publish(2);
  await page.goto(`${address}#${hash}`);
  await page.waitForFunction(() => globalThis.heard !== undefined);
  await publish(3);
  assert.deepEqual(await heard(2), [{ number: 2 }, { number: 3 }]);
});
