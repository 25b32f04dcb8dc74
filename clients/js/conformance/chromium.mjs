// Headless Chromium with one page, which runs one script of build/conformance.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

/** The browser is $CHROMIUM, or where Debian's package puts it. */
const PROGRAM = process.env.CHROMIUM ?? "/usr/bin/chromium";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Call `use(page, address)`, and leave nothing behind. */
export async function withPage(name, use) {
  const script = readFileSync(new URL(`../build/conformance/${name}`, import.meta.url));
  const html = '<!doctype html><script type="module" src="/page.js"></script>';
  const server = createServer(({ url }, response) => {
    const [type, body] = url === "/page.js" ? ["text/javascript", script] : ["text/html", html];
    response.setHeader("Content-Type", type).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const profile = mkdtempSync(join(tmpdir(), "gatewayd-chromium-"));
  const options = { executablePath: PROGRAM, headless: true, args: FLAGS };
  const context = await chromium.launchPersistentContext(profile, options);
  try {
    const page = await context.newPage();
    page.on("pageerror", (error) => console.error("page:", error));
    await use(page, `http://127.0.0.1:${server.address().port}/`);
  } finally {
    await context.close();
    server.close();
    rmSync(profile, { recursive: true, force: true });
  }
}
