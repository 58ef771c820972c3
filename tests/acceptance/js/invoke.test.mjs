// Invocations of the official client, unmodified, to a handler of the official package (invoked.mjs), which is there.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import test from "node:test";
import { connect, proxy, service, until } from "./support.mjs";

const hub = process.env.HUBWIRE_HUB;
if (!hub) throw new Error("HUBWIRE_HUB names the hub whose events the handler takes");

const plainAndReliable = (name, body) => {
  test(`plain: ${name}`, (t) => body(t, false));
  test(`reliable: ${name}`, (t) => body(t, true));
};
const FAILED = { name: "InternalServerError", message: "The event handler failed." };
const admin = service(hub);
const named = () => `n${randomUUID().replaceAll("-", "")}`;
const names = async (client, event) => (await client.invokeEvent(event, "", "text")).data;
const waits = (client, name) => until(async () => (await names(client, "waiting")).includes(name), `${name} waits`);
const isAbandoned = (client, name) =>
  until(async () => (await names(client, "abandoned")).includes(name), `${name} is abandoned`);

plainAndReliable("what the handler answers is the result, whatever it is", async (t, reliable) => {
  const { client, seen } = await connect(t, admin, { reliable, roles: [] });
  const binary = new Uint8Array([0, 255]).buffer;
  const results = [
    await client.invokeEvent("echo", "grüße", "text"),
    await client.invokeEvent("echo", { a: [1, null, "ü"] }, "json"),
    await client.invokeEvent("echo", binary, "binary"),
    await client.invokeEvent("quiet", "x", "text"),
    await client.invokeEvent("echo", "", "text"),
    await client.invokeEvent("null", "x", "text"),
    await client.invokeEvent("quiet", undefined, "text", { invocationId: "mine" }),
  ];

  assert.deepEqual(results.slice(0, 3).map((result) => result.dataType), ["text", "json", "binary"]);
  assert.deepEqual(results.slice(0, 2).map((result) => result.data), ["grüße", { a: [1, null, "ü"] }]);
  assert.deepEqual([...new Uint8Array(results[2].data)], [0, 255]);
  for (const { dataType, data } of results.slice(3)) assert.deepEqual([dataType, data], [undefined, undefined]);
  assert.equal(results[6].invocationId, "mine");
  assert.deepEqual(seen.server, []);
});

plainAndReliable("a handler that fails, or none, rejects with the reason and without what it said", async (t, reliable) => {
  const { client } = await connect(t, admin, { reliable });
  await assert.rejects(client.invokeEvent("fail", "x", "text"), (error) => {
    assert.equal(error.name, "InvocationError");
    assert.deepEqual([error.message, error.errorDetail], [FAILED.message, FAILED]);
    return true;
  });
  const other = await connect(t, service(), { reliable });
  await assert.rejects(other.client.invokeEvent("echo", "x", "text"), {
    name: "InvocationError",
    message: "No event handler is configured for this event.",
  });
  await other.client.joinGroup("g");
});

plainAndReliable("several are pending at once, and other requests do not wait for them", async (t, reliable) => {
  const { client, seen } = await connect(t, admin, { reliable });
  const [first, second] = [named(), named()];
  const order = [];
  const pending = [first, second].map(async (name) => {
    const { data } = await client.invokeEvent(`wait.${name}`, "x", "text");
    order.push(data);
  });
  await client.joinGroup(first);
  await client.sendToGroup(first, "meanwhile", "text");
  await until(() => seen.group.length === 1, "a message");
  await waits(client, first);
  await waits(client, second);
  await client.sendEvent("release", second, "text");
  await until(() => order.length === 1, "one result");
  await client.sendEvent("release", first, "text");
  await Promise.all(pending);

  assert.deepEqual(order, [`of ${second}`, `of ${first}`]);
});

test("a hundred at once are all answered, each with its own", async (t) => {
  const { client } = await connect(t, admin);
  const numbers = Array.from({ length: 100 }, (_, number) => number);
  const results = await Promise.all(numbers.map((number) => client.invokeEvent("echo", number, "json")));

  assert.deepEqual(results.map((result) => result.data), numbers);
});

plainAndReliable("one that is aborted rejects, and its handler is not waited for", async (t, reliable) => {
  const { client } = await connect(t, admin, { reliable });
  const name = named();
  const abort = new AbortController();
  const options = { abortSignal: abort.signal, invocationId: "again" };
  const pending = assert.rejects(client.invokeEvent(`wait.${name}`, "x", "text", options), { name: "InvocationError" });
  await waits(client, name);
  abort.abort();
  await pending;
  await isAbandoned(client, name);

  assert.equal((await client.invokeEvent("echo", "x", "text", { invocationId: "again" })).data, "x");
});

test("one whose time is over rejects, and its handler is not waited for", async (t) => {
  const { client } = await connect(t, admin);
  const name = named();
  const over = new AbortController();
  const expected = { name: "InvocationError", message: "Invocation cancelled by abortSignal." };
  const pending = assert.rejects(client.invokeEvent(`wait.${name}`, "x", "text", { abortSignal: over.signal }), expected);
  await waits(client, name); // or its time could be over before the handler has heard of it
  AbortSignal.timeout(1).addEventListener("abort", ({ target }) => over.abort(target.reason));
  await pending;
  await isAbandoned(client, name);
});

plainAndReliable("those that are pending end with the connection, and others can be made after it", async (t, reliable) => {
  const network = await proxy(t);
  const { client, seen } = await connect(t, admin, { reliable, port: network.port });
  const name = named();
  const pending = assert.rejects(client.invokeEvent(`wait.${name}`, "x", "text"), { name: "InvocationError" });
  await waits(client, name);
  assert.equal(network.cut(), 1);
  await pending;
  const later = async () => {
    try {
      return (await client.invokeEvent("echo", "back", "text")).data === "back";
    } catch {
      return false;
    }
  };
  await until(later, "an invocation after the break");
  await isAbandoned(client, name);

  assert.equal(seen.connected.length, reliable ? 1 : 2);
});

test("those that are pending end when REST closes the connection", async (t) => {
  const { client, seen } = await connect(t, admin);
  const { client: other } = await connect(t, admin);
  const name = named();
  const pending = assert.rejects(client.invokeEvent(`wait.${name}`, "x", "text"), { name: "InvocationError" });
  await waits(client, name);
  await admin.closeConnection(seen.connected[0].connectionId);
  await pending;
  await isAbandoned(other, name);
});
