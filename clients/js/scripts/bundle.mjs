// Bundles, into build/, the tests and the conformance drivers, from what was built for users.
import { build } from "esbuild";
import { readdirSync, rmSync } from "node:fs";

rmSync("build", { recursive: true, force: true });
const tests = readdirSync("test").filter((name) => name.endsWith(".test.ts"));
const common = { bundle: true, format: "esm", target: "es2022", logLevel: "warning" };

await Promise.all([
  build({
    ...common,
    entryPoints: [...tests.map((name) => `test/${name}`), "conformance/node.ts"],
    platform: "node",
    outdir: "build",
    outbase: ".",
    packages: "external",
    alias: { "@gatewayd/client": "./dist/node.js" },
  }),
  build({
    ...common,
    entryPoints: ["conformance/page.ts", "conformance/reload.ts"],
    platform: "browser",
    outdir: "build/conformance",
    alias: { "@gatewayd/client": "./dist/index.js" },
  }),
]);
