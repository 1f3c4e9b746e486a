/**
 * Builds the pages: web/page/src → engagement/gateway/static (or the directory given).
 *
 * Asset names hold the hash of their content, so they may be cached for ever; `index.html` names
 * them. The new build is complete before `index.html` is replaced; what it no longer names is
 * removed after.
 */
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const web = join(dirname(fileURLToPath(import.meta.url)), "..");
const source = join(web, "page", "src");
const out = resolve(process.argv[2] ?? join(web, "..", "engagement", "gateway", "static"));
const assets = join(out, "assets");

const result = await build({
  entryPoints: [join(source, "main.ts"), join(source, "styles.css")],
  outdir: assets,
  write: false,
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["es2022", "chrome110", "firefox115", "safari16.4"],
  minify: true,
  metafile: true,
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  // The art of the gifts: files, because the pages' policy forbids data: addresses.
  assetNames: "[name]-[hash]",
  loader: { ".svg": "file" },
  publicPath: "/static",
  alias: { "@live-engagement/client": join(web, "client", "src", "index.ts") },
  tsconfigRaw: {},
  logLevel: "warning",
});

const icon = readFileSync(join(source, "icon.svg"));
const iconName = `icon-${createHash("sha256").update(icon).digest("hex").slice(0, 8)}.svg`;
const files = new Map(result.outputFiles.map((file) => [basename(file.path), file.contents]));
files.set(iconName, icon);

const named = (pattern) => {
  const found = [...files.keys()].filter((name) => pattern.test(name));
  if (found.length !== 1) throw new Error(`expected one file like ${pattern}, not ${found}`);
  return `/static/${found[0]}`;
};
const index = readFileSync(join(source, "index.html"), "utf8")
  .replace("%JS%", named(/^main-.*\.js$/))
  .replace("%CSS%", named(/^styles-.*\.css$/))
  .replace("%ICON%", `/static/${iconName}`);

mkdirSync(assets, { recursive: true });
for (const [name, content] of files) writeFileSync(join(assets, name), content);
writeFileSync(join(out, "index.html.new"), index);
renameSync(join(out, "index.html.new"), join(out, "index.html"));
for (const name of readdirSync(assets)) if (!files.has(name)) rmSync(join(assets, name));

const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
for (const [name, content] of [...files].sort()) {
  console.log(`${name.padEnd(28)} ${kib(content.length).padStart(10)} ${kib(gzipSync(content, { level: 9 }).length).padStart(10)} zipped`);
}
