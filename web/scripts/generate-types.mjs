/**
 * Writes the client's types from the committed JSON Schemas (docs/schemas, `engagement schemas`).
 *
 *   node scripts/generate-types.mjs           writes client/src/generated/{events,requests}.ts
 *   node scripts/generate-types.mjs --check   exits 1 when the files there are not up to date
 *
 * It knows the part of JSON Schema that our schemas use and stops at anything else.
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const web = join(dirname(fileURLToPath(import.meta.url)), "..");
const schemas = join(web, "..", "docs", "schemas");
const generated = join(web, "client", "src", "generated");
const banner = "// Generated from docs/schemas by scripts/generate-types.mjs. Do not edit.\n\n";

function read(directory) {
  return readdirSync(directory)
    .filter((name) => name.endsWith(".json"))
    .sort()
    .map((name) => JSON.parse(readFileSync(join(directory, name), "utf8")));
}

function comment(text, indent) {
  return text ? `${indent}/** ${text.replaceAll("*/", "*\u200b/")} */\n` : "";
}

/** The TypeScript type of a schema; `names` maps a $ref to the name of an interface. */
function typeOf(schema, names) {
  if (schema.$ref !== undefined) {
    const name = names.get(schema.$ref);
    if (name === undefined) throw new Error(`unknown $ref ${schema.$ref}`);
    return name;
  }
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.anyOf !== undefined) return schema.anyOf.map((part) => typeOf(part, names)).join(" | ");
  switch (schema.type) {
    case "string":
      return "string";
    case "integer":
    case "number":
      return "number";
    case "boolean":
      return "boolean";
    case "null":
      return "null";
    case "array": {
      const item = typeOf(schema.items ?? {}, names);
      return item.includes(" ") ? `(${item})[]` : `${item}[]`;
    }
    case "object":
      // A map; an object with named fields has a title, and a $ref to it.
      if (schema.additionalProperties !== undefined && schema.properties === undefined) {
        return `Record<string, ${typeOf(schema.additionalProperties, names)}>`;
      }
      break;
    case undefined:
      if (Object.keys(schema).every((key) => key === "description" || key === "title")) return "unknown";
  }
  throw new Error(`cannot type ${JSON.stringify(schema)}`);
}

function interfaceOf(name, schema, names) {
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties ?? {}).map(
    ([field, part]) =>
      comment(part.description, "  ") +
      `  ${field}${required.has(field) ? "" : "?"}: ${typeOf(part, names)};\n`,
  );
  const text = comment(schema.description, "");
  if (fields.length === 0) return `${text}export type ${name} = Record<string, never>;\n\n`;
  return `${text}export interface ${name} {\n${fields.join("")}}\n\n`;
}

/** Interfaces of a schema's own `$defs`, once each; returns the map from $ref to name. */
function definitions(schema, into) {
  const names = new Map();
  for (const [key, part] of Object.entries(schema.$defs ?? {})) {
    const name = part.title ?? key;
    names.set(`#/$defs/${key}`, name);
    if (part.$id) names.set(part.$id, name);
  }
  for (const part of Object.values(schema.$defs ?? {})) {
    // A part with an $id of its own is a resource of its own: its $refs are to its own $defs.
    const own = part.$defs === undefined ? names : definitions(part, into);
    into.set(part.title, interfaceOf(part.title, part, own));
  }
  return names;
}

function events() {
  const interfaces = new Map();
  const rows = [];
  let envelope;
  let required;
  for (const schema of read(schemas)) {
    definitions(schema, interfaces);
    rows.push(`  "${schema.title}": ${schema.$defs.data.title};\n`);
    envelope ??= schema;
    // What an event is about differs by topic: only what all carry is certain.
    required = (required ?? schema.required).filter((name) => schema.required.includes(name));
  }
  const { type: _type, data: _data, dataschema: _schema, ...attributes } = envelope.properties;
  const base = {
    description: "What every event carries: CloudEvents 1.0 and our extension attributes.",
    properties: { ...attributes, dataschema: { type: "string" } },
    required,
  };
  return (
    [...interfaces.values()].join("") +
    interfaceOf("EventAttributes", base, new Map()) +
    `/** The data of each event type. */\nexport interface EventData {\n${rows.join("")}}\n\n` +
    "export type EventType = keyof EventData;\n\n" +
    "/** One event, told apart by its `type`. */\n" +
    "export type LiveEvent = {\n" +
    "  [T in EventType]: EventAttributes & { type: T; data: EventData[T] };\n" +
    "}[EventType];\n\n" +
    "/** An event of one type. */\n" +
    "export type EventOf<T extends EventType> = Extract<LiveEvent, { type: T }>;\n"
  );
}

function requests() {
  const interfaces = new Map();
  const rows = [];
  for (const schema of read(join(schemas, "requests"))) {
    const names = definitions(schema, interfaces);
    rows.push(comment(schema.description, "  ") + `  "${schema.title}": ${typeOf(schema.properties.data, names)};\n`);
  }
  return (
    [...interfaces.values()].join("") +
    `/** The data of each request type. */\nexport interface RequestData {\n${rows.join("")}}\n\n` +
    "export type RequestType = keyof RequestData;\n"
  );
}

let stale = 0;
for (const [name, text] of [["events.ts", banner + events()], ["requests.ts", banner + requests()]]) {
  const path = join(generated, name);
  if (process.argv.includes("--check")) {
    let present = "";
    try {
      present = readFileSync(path, "utf8");
    } catch {
      // A missing file is a stale one.
    }
    if (present !== text) {
      stale += 1;
      console.error(`${path} is not what docs/schemas say: run npm run generate`);
    }
  } else {
    mkdirSync(generated, { recursive: true });
    writeFileSync(path, text);
  }
}
process.exit(stale === 0 ? 0 : 1);
