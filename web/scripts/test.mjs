/** Bundles the client's tests with esbuild and runs them with Node's own test runner. */
import { build } from "esbuild";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const web = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = join(web, "client/test");
const tests = readdirSync(folder)
  .filter((name) => name.endsWith(".test.ts"))
  .map((name) => join(folder, name));
const out = mkdtempSync(join(tmpdir(), "engagement-web-test-"));
try {
  await build({
    entryPoints: tests,
    outdir: out,
    outbase: web,
    bundle: true,
    platform: "node",
    format: "esm",
    outExtension: { ".js": ".mjs" },
    sourcemap: "inline",
    alias: { "@live-engagement/client": join(web, "client/src/index.ts") },
    logLevel: "warning",
  });
  const files = tests.map((path) =>
    join(out, path.slice(web.length)).replace(/\.ts$/, ".mjs"),
  );
  const run = spawnSync(
    process.execPath,
    ["--enable-source-maps", "--test", "--test-reporter=spec", ...files],
    { stdio: "inherit" },
  );
  process.exitCode = run.status ?? 1;
} finally {
  rmSync(out, { recursive: true });
}
