// The application's part in headless Chromium: `node browser.mjs CONTROL_URL`.
import { withPage } from "./chromium.mjs";

await withPage("page.js", async (page, address) => {
  await page.goto(`${address}#${process.argv.at(-1)}`);
  await page.waitForFunction(() => globalThis.over === true, undefined, { timeout: 0 });
});
