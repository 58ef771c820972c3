// A page of an example in a browser of a few lines: its markup's elements, its address and its script, with the library
// as it is built for browsers (node --conditions=browser --experimental-websocket). Prints "ID: TEXT" for each change;
// a line "ID TEXT" of standard input is what somebody types into a field.
import { readFileSync } from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { pathToFileURL } from "node:url";

const [, , folder, hash] = process.argv;
const markup = readFileSync(path.join(folder, "index.html"), "utf8");

class Element extends EventTarget {
  constructor(id) {
    super();
    this.id = id;
  }

  set textContent(text) {
    console.log(`${this.id}: ${text}`);
  }
}

const elements = new Map([...markup.matchAll(/ id="([^"]+)"/g)].map(([, id]) => [id, new Element(id)]));
globalThis.document = { getElementById: (id) => elements.get(id) ?? null };
globalThis.navigator ??= { userAgent: "", platform: "" };  // Node.js has its own from version 21 on
// The library takes this for a worker: in a page it would have its timers from one, and there is none here.
globalThis.self = new (class WorkerGlobalScope {})();
globalThis.location = new URL(`http://localhost:8000/#${hash}`);

readline.createInterface(process.stdin).on("line", (line) => {
  const [id, ...text] = line.split(" ");
  elements.get(id).value = text.join(" ");
  elements.get(id).dispatchEvent(new Event("change"));
});

const [, script] = /<script type="module" src="([^"]+)">/.exec(markup);
await import(pathToFileURL(path.join(folder, script)).href);
