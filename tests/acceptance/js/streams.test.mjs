// Streams to groups with the official JavaScript client library, unmodified: openGroupStream and onGroupStream.
import assert from "node:assert/strict";
import test from "node:test";
import WebSocket from "ws";
import { connect, proxy, service, until } from "./support.mjs";

/** The same for plain and reliable publishers, and for plain and reliable subscribers. */
const everyPair = (name, body) => {
  for (const [publisher, subscriber] of [[false, false], [false, true], [true, false], [true, true]]) {
    const kind = (reliable) => (reliable ? "reliable" : "plain");
    test(`${kind(publisher)} to ${kind(subscriber)}: ${name}`, (t) => body(t, publisher, subscriber));
  }
};

/** Keeps what each stream brings, in order, with how it ended. */
function listen(client, options) {
  const streams = [];
  client.onGroupStream(async (stream) => {
    const kept = { id: stream.streamId, group: stream.groupName, parts: [], done: false, error: undefined };
    streams.push(kept);
    try {
      for await (const message of stream) kept.parts.push(message);
    } catch (error) {
      kept.error = error;
    }
    kept.done = true;
  }, options);
  return streams;
}

/** Somebody who publishes, and somebody in the group who listens. */
async function pair(t, publishes = true, listens = true, { port, ...token } = {}) {
  const admin = service();
  const subscriber = await connect(t, admin, { reliable: listens, groups: ["g"] });
  const publisher = await connect(t, admin, { reliable: publishes, userId: "u", port, ...token });
  return { admin, publisher, subscriber, streams: listen(subscriber.client) };
}

const numbersOf = (stream) => stream.parts.map((part) => part.stream.streamSequenceId);
const errorsOf = (stream) => {
  const errors = [];
  stream.onError((error) => errors.push(error));
  return errors;
};

everyPair("each kind of data arrives in order, and then the end", async (t, publishes, listens) => {
  const { publisher, streams } = await pair(t, publishes, listens);
  const stream = await publisher.client.openGroupStream("g");
  await stream.write("tëxt", "text");
  await stream.write({ a: [1, null, "ü"] }, "json");
  await stream.write(new Uint8Array([0, 255]).buffer, "binary");
  await stream.end();
  await until(() => streams[0]?.done, "the end of the stream");

  const [{ id, group, parts, error }] = streams;
  assert.deepEqual([id, group, error], [stream.streamId, "g", undefined]);
  assert.deepEqual(parts.map((part) => part.dataType), ["text", "json", "binary"]);
  assert.deepEqual(parts.slice(0, 2).map((part) => part.data), ["tëxt", { a: [1, null, "ü"] }]);
  assert.deepEqual([...new Uint8Array(parts[2].data)], [0, 255]);
  assert.deepEqual(numbersOf(streams[0]), [1, 2, 3]);
  assert.ok(parts.every((part) => part.fromUserId === "u"));
});

everyPair("a stream without data ends, and its subscribers learn of it", async (t, publishes, listens) => {
  const { publisher, streams } = await pair(t, publishes, listens);
  await (await publisher.client.openGroupStream("g")).end();
  await until(() => streams[0]?.done, "the end of the stream");

  assert.deepEqual([streams[0].parts, streams[0].error], [[], undefined]);
});

everyPair("an aborted stream is a UserError with the publisher's code", async (t, publishes, listens) => {
  const { publisher, streams } = await pair(t, publishes, listens);
  const stream = await publisher.client.openGroupStream("g");
  await stream.write("x", "text");
  await stream.abort({ message: "broken", userErrorCode: "E1" });
  await until(() => streams[0]?.done, "the end of the stream");

  assert.deepEqual(streams[0].error, { name: "UserError", message: "broken", userErrorCode: "E1" });
});

test("two hundred fragments at once arrive in order without a complaint", async (t) => {
  const { publisher, streams } = await pair(t);
  const stream = await publisher.client.openGroupStream("g");
  const errors = errorsOf(stream);
  const numbers = Array.from({ length: 200 }, (_, number) => number);
  await Promise.all(numbers.map((number) => stream.write({ number }, "json")));
  await stream.end();
  await until(() => streams[0]?.done, "the end of the stream");

  assert.deepEqual(streams[0].parts.map((part) => part.data.number), numbers);
  assert.deepEqual(errors, []);
});

test("more bytes at once than may be in flight all arrive", async (t) => {
  const { publisher, streams } = await pair(t, true, false);
  const stream = await publisher.client.openGroupStream("g");
  const errors = errorsOf(stream);
  const chunk = "x".repeat(200_000);
  await Promise.all(Array.from({ length: 30 }, () => stream.write(chunk, "text")));
  await stream.end();
  await until(() => streams[0]?.done, "the end of the stream");

  assert.equal(streams[0].parts.length, 30);
  assert.ok(streams[0].parts.every((part) => part.data === chunk));
  assert.deepEqual(errors, []);
});

test("parallel streams of one client do not mix", async (t) => {
  const { publisher, streams } = await pair(t);
  const opened = await Promise.all([1, 2, 3].map(() => publisher.client.openGroupStream("g")));
  for (let number = 0; number < 10; number += 1) {
    await Promise.all(opened.map((stream) => stream.write(`${stream.streamId} ${number}`, "text")));
  }
  await Promise.all(opened.map((stream) => stream.end()));
  await until(() => streams.length === 3 && streams.every((stream) => stream.done), "three ends");

  for (const { id, parts } of streams) {
    assert.deepEqual(parts.map((part) => part.data), Array.from({ length: 10 }, (_, number) => `${id} ${number}`));
  }
});

test("noEcho keeps a stream from its publisher", async (t) => {
  const { admin, publisher, streams } = await pair(t);
  const own = listen(publisher.client);
  await publisher.client.joinGroup("g");
  for (const noEcho of [true, false]) {
    const stream = await publisher.client.openGroupStream("g", { noEcho });
    await stream.write("x", "text");
    await stream.end();
  }
  await until(() => streams.length === 2 && streams.every((stream) => stream.done), "two ends");
  await until(() => own[0]?.done, "the end of what is echoed");

  assert.deepEqual(own.map((stream) => stream.id), [streams[1].id]);
  assert.ok(await admin.groupExists("g"));
});

test("who comes in the midst of a stream sees the rest of it", async (t) => {
  const { admin, publisher, streams } = await pair(t);
  const stream = await publisher.client.openGroupStream("g");
  await stream.write("1", "text");
  await until(() => streams[0]?.parts.length === 1, "the first fragment");
  const late = await connect(t, admin, { groups: ["g"] });
  const [rest, whole] = [listen(late.client), listen(late.client, { handleFromStart: true })];
  await stream.write("2", "text");
  await stream.end();
  await until(() => rest[0]?.done, "the end of the stream");

  assert.deepEqual(numbersOf(rest[0]), [2]);
  assert.deepEqual(whole, []);
});

test("a stream to a group that is not allowed is refused by name", async (t) => {
  const { client } = await connect(t, service(), { roles: ["webpubsub.sendToGroup.g"] });
  await assert.rejects(client.openGroupStream("h"), (error) => error.name === "Forbidden");
  await (await client.openGroupStream("g")).end();
});

test("an idle timeout that is none is refused by name", async (t) => {
  const { client } = await connect(t, service());
  await assert.rejects(client.openGroupStream("g", { idleTimeoutInMs: 0 }), (error) => error.name === "BadRequest");
});

test("a permission that is revoked in the midst of a stream ends it for everybody", async (t) => {
  const { admin, publisher, streams } = await pair(t);
  const stream = await publisher.client.openGroupStream("g");
  const errors = errorsOf(stream);
  await stream.write("1", "text");
  await until(() => streams[0]?.parts.length === 1, "the first fragment");
  await admin.revokePermission(publisher.seen.connected[0].connectionId, "sendToGroup", { targetName: "g" });
  await stream.write("2", "text");
  await until(() => streams[0].done && errors.length, "the end of the stream");

  assert.equal(streams[0].error.name, "Forbidden");
  assert.deepEqual(errors.map((error) => error.name), ["Forbidden"]);
  assert.equal(streams[0].parts.length, 1);
});

test("a silent publisher's stream ends for everybody", async (t) => {
  const { publisher, streams } = await pair(t);
  const stream = await publisher.client.openGroupStream("g", { idleTimeoutInMs: 2000 });
  const errors = errorsOf(stream);
  await stream.write("1", "text");
  await until(() => streams[0]?.done && errors.length, "the end of the stream");

  assert.equal(streams[0].error.name, "IdleTimeout");
  assert.deepEqual(errors.map((error) => error.name), ["IdleTimeout"]);
  await assert.rejects(stream.write("2", "text"));
});

for (const way of ["cut", "end"]) {
  test(`a reliable publisher's stream survives a broken connection: ${way}`, async (t) => {
    const network = await proxy(t);
    const { publisher, streams } = await pair(t, true, true, { port: network.port });
    const stream = await publisher.client.openGroupStream("g");
    const errors = errorsOf(stream);
    const numbers = Array.from({ length: 60 }, (_, number) => number);
    for (const number of numbers) {
      if (number && number % 20 === 0) {
        await until(() => network.connections() === 1, "a connection to break");
        assert.equal(network[way](), 1);
      }
      await stream.write(number, "json");
    }
    await stream.end();
    await until(() => streams[0]?.done, "the end of the stream");

    assert.deepEqual(streams[0].parts.map((part) => part.data), numbers);
    assert.deepEqual(numbersOf(streams[0]), numbers.map((number) => number + 1));
    assert.deepEqual([streams[0].error, errors], [undefined, []]);
    assert.equal(publisher.seen.connected.length, 1);
  });
}

test("a reliable subscriber misses nothing of a stream", async (t) => {
  const admin = service();
  const network = await proxy(t);
  const subscriber = await connect(t, admin, { port: network.port, groups: ["g"] });
  const publisher = await connect(t, admin);
  const streams = listen(subscriber.client);
  const stream = await publisher.client.openGroupStream("g");
  const numbers = Array.from({ length: 60 }, (_, number) => number);
  for (const number of numbers) {
    if (number && number % 20 === 0) {
      await until(() => network.connections() === 1, "a connection to break");
      network.cut();
    }
    await stream.write(number, "json");
  }
  await stream.end();
  await until(() => streams[0]?.done, "the end of the stream");

  assert.deepEqual(streams[0].parts.map((part) => part.data), numbers);
  assert.equal(streams[0].error, undefined);
});

test("streams of a plain publisher that is gone are cancelled", async (t) => {
  const network = await proxy(t);
  const { publisher, streams } = await pair(t, false, true, { port: network.port });
  const stream = await publisher.client.openGroupStream("g");
  const errors = errorsOf(stream);
  await stream.write("1", "text");
  await until(() => streams[0]?.parts.length === 1, "the first fragment");
  network.cut();
  await until(() => streams[0].done && errors.length, "the end of the stream");

  assert.equal(streams[0].error.name, "Cancelled");
});

test("a simple client receives the payloads and no end", async (t) => {
  const { admin, publisher, streams } = await pair(t);
  const { url } = await admin.getClientAccessToken({ groups: ["g"] });
  const socket = new WebSocket(url);
  t.after(() => socket.terminate());
  const received = [];
  socket.on("message", (payload, isBinary) => received.push([payload.toString("latin1"), isBinary]));
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  const stream = await publisher.client.openGroupStream("g");
  await stream.write("a", "text");
  await stream.write({ a: 1 }, "json");
  await stream.write(new Uint8Array([1]).buffer, "binary");
  await stream.end();
  await until(() => streams[0]?.done, "the end of the stream");
  await admin.group("g").sendToAll("behind it", { contentType: "text/plain" });
  await until(() => received.some(([payload]) => payload === "behind it"), "the message behind it");

  assert.deepEqual(received, [["a", false], ['{"a":1}', false], ["\u0001", true], ["behind it", false]]);
});
