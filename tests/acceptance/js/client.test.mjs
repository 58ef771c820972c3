// The official JavaScript client library, unmodified, reliable and plain.
import assert from "node:assert/strict";
import test from "node:test";
import WebSocket from "ws";
import { WebPubSubClient } from "@azure/web-pubsub-client";
import { connect, proxy, service, tap, until } from "./support.mjs";

const plainAndReliable = (name, body) => {
  test(`plain: ${name}`, (t) => body(t, false));
  test(`reliable: ${name}`, (t) => body(t, true));
};
const data = (seen) => seen.group.map((message) => message.data);

plainAndReliable("connected names the connection and the user", async (t, reliable) => {
  const { seen } = await connect(t, service(), { reliable, userId: "ü/1" });
  assert.equal(seen.connected[0].userId, "ü/1");
  assert.ok(seen.connected[0].connectionId);
});

plainAndReliable("each kind of data reaches the group", async (t, reliable) => {
  const { client, seen } = await connect(t, service(), { reliable, userId: "u" });
  assert.equal((await client.joinGroup("g")).isDuplicated, false);
  await client.sendToGroup("g", "tëxt", "text");
  await client.sendToGroup("g", { a: [1, null, "ü"] }, "json");
  await client.sendToGroup("g", new Uint8Array([0, 255]).buffer, "binary");
  await until(() => seen.group.length === 3, "three messages");

  assert.deepEqual(seen.group.map((m) => m.dataType), ["text", "json", "binary"]);
  assert.deepEqual(data(seen).slice(0, 2), ["tëxt", { a: [1, null, "ü"] }]);
  assert.deepEqual([...new Uint8Array(seen.group[2].data)], [0, 255]);
  assert.deepEqual(new Set(seen.group.map((m) => `${m.group} ${m.fromUserId}`)), new Set(["g u"]));
  assert.deepEqual(seen.group.map((m) => m.sequenceId), reliable ? [1, 2, 3] : [undefined, undefined, undefined]);
});

plainAndReliable("noEcho leaves the sender out, and who left hears nothing more", async (t, reliable) => {
  const admin = service();
  const sender = await connect(t, admin, { reliable, groups: ["g"] });
  const other = await connect(t, admin, { reliable, groups: ["g"] });
  await sender.client.sendToGroup("g", "1", "text", { noEcho: true });
  await sender.client.sendToGroup("g", "2", "text");
  await other.client.leaveGroup("g");
  await sender.client.sendToGroup("g", "3", "text", { fireAndForget: true });
  await until(() => sender.seen.group.length === 2, "two messages");

  assert.deepEqual(data(sender.seen), ["2", "3"]);
  assert.deepEqual(data(other.seen), ["1", "2"]);
});

test("messages of the server arrive in order", async (t) => {
  const admin = service();
  const { seen } = await connect(t, admin, { userId: "u" });
  await admin.sendToAll({ to: "all" });
  await admin.sendToUser("u", "user", { contentType: "text/plain" });
  await admin.sendToConnection(seen.connected[0].connectionId, new Uint8Array([1, 2]).buffer);
  await admin.sendToAll("a string");
  await until(() => seen.server.length === 4, "four messages");

  assert.deepEqual(seen.server.map((m) => m.dataType), ["json", "text", "binary", "json"]);
  assert.deepEqual(seen.server[0].data, { to: "all" });
  assert.equal(seen.server[3].data, "a string");
});

test("a JSON null, which this library drops without acknowledging it, is no fault", async (t) => {
  const admin = service();
  const { client, seen } = await connect(t, admin, { groups: ["g"] });
  await admin.group("g").sendToAll(null);
  await client.sendToGroup("g", "after", "text");
  await until(() => seen.group.length === 1, "the message after it");

  assert.equal(seen.group[0].sequenceId, 2);
});

test("a refused request rejects with the error's name", async (t) => {
  const { client } = await connect(t, service(), { roles: ["webpubsub.joinLeaveGroup.g"] });
  await client.joinGroup("g");
  for (const request of [() => client.joinGroup("h"), () => client.sendToGroup("g", "x", "text")]) {
    await assert.rejects(request, (error) => error.errorDetail.name === "Forbidden");
  }
});

plainAndReliable("an event without a handler is an InternalServerError, and the client goes on", async (t, reliable) => {
  const { client } = await connect(t, service(), { reliable });
  await assert.rejects(client.sendEvent("ev", "x", "text"), (error) => error.errorDetail.name === "InternalServerError");
  await client.sendEvent("ev", "x", "text", { fireAndForget: true });
  await client.joinGroup("g");
});

test("the same ack id twice is one message, and the second is told to be a duplicate", async (t) => {
  const { client, seen } = await connect(t, service(), { groups: ["g"] });
  assert.deepEqual(await client.sendToGroup("g", "once", "text", { ackId: 1000 }), { ackId: 1000, isDuplicated: false });
  assert.deepEqual(await client.sendToGroup("g", "twice", "text", { ackId: 1000 }), { ackId: 1000, isDuplicated: true });
  await client.sendToGroup("g", "after", "text");
  await until(() => seen.group.length === 2, "two messages");

  assert.deepEqual(data(seen), ["once", "after"]);
});

test("a hundred sends at once are all acknowledged and arrive in order", async (t) => {
  const { client, seen } = await connect(t, service(), { groups: ["g"] });
  const numbers = Array.from({ length: 100 }, (_, number) => number);
  await Promise.all(numbers.map((number) => client.sendToGroup("g", number, "json")));
  await until(() => seen.group.length === 100, "a hundred messages");

  assert.deepEqual(data(seen), numbers);
});

test("the library acknowledges what it received, so that more than a thousand messages are no overflow", async (t) => {
  const admin = service();
  const wire = await tap(t);
  const { seen } = await connect(t, admin, { port: wire.port, plain: true, groups: ["g"] });
  const sender = await connect(t, admin);
  for (let total = 400; total <= 2000; total += 400) {
    await Promise.all(Array.from({ length: 400 }, () => sender.client.sendToGroup("g", "x", "text")));
    // The library acknowledges once a second, and at once after a jump of more than 300.
    const acknowledged = (frame) => frame.type === "sequenceAck" && frame.sequenceId === total;
    await until(() => wire.sent.some(acknowledged), `the sequenceAck of ${total}`);
  }
  assert.equal(seen.group.length, 2000);
  assert.equal(seen.connected.length, 1);
});

test("a client may be started again after it was stopped", async (t) => {
  const { client, seen } = await connect(t, service());
  client.stop();
  await until(() => seen.stopped === 1, "the stopped event");
  await client.start();
  await until(() => seen.connected.length === 2, "another connection");

  assert.notEqual(seen.connected[0].connectionId, seen.connected[1].connectionId);
  await client.joinGroup("g");
});

test("a client without a valid token does not start", async () => {
  const { baseUrl } = await service().getClientAccessToken();
  const client = new WebPubSubClient(`${baseUrl}?access_token=a.b.c`);
  await assert.rejects(client.start());
});

plainAndReliable("closed by REST, it comes back as another connection in its groups", async (t, reliable) => {
  const admin = service();
  const { client, seen } = await connect(t, admin, { reliable });
  await client.joinGroup("g");
  await client.joinGroup("left");
  await client.leaveGroup("left");
  await admin.closeConnection(seen.connected[0].connectionId, { reason: "a+b & c/d ü" });
  await until(() => seen.connected.length === 2, "another connection");
  await until(() => admin.groupExists("g"), "the group was joined again");
  await admin.group("g").sendToAll("hello", { contentType: "text/plain" });
  await until(() => seen.group.length === 1, "the message");

  assert.notEqual(seen.connected[0].connectionId, seen.connected[1].connectionId);
  assert.equal(seen.disconnected.length, 1);
  assert.equal(seen.disconnected[0].message.message, "Application server closed the connection. Reason: a+b & c/d ü");
  assert.equal(await admin.groupExists("left"), false);
});

test("a plain client that lost its connection comes back as another", async (t) => {
  const admin = service();
  const way = await proxy(t);
  const { client, seen } = await connect(t, admin, { reliable: false, port: way.port });
  await client.joinGroup("g");
  assert.equal(way.cut(), 1);
  await until(() => seen.connected.length === 2, "another connection");
  await until(() => admin.groupExists("g"), "the group was joined again");

  assert.notEqual(seen.connected[0].connectionId, seen.connected[1].connectionId);
});

for (const way of ["cut", "end", "loseClient"]) {
  test(`a reliable client misses nothing and hears nothing twice: ${way}`, async (t) => {
    const admin = service();
    const network = await proxy(t);
    const { client, seen } = await connect(t, admin, { port: network.port, groups: ["g"] });
    const numbers = Array.from({ length: 120 }, (_, number) => number);
    for (const number of numbers) {
      if (number && number % 30 === 0) {
        await until(() => network.connections() === 1, "a connection to break");
        assert.equal(network[way](), 1);
      }
      await admin.group("g").sendToAll(number);
    }
    await until(() => seen.group.length >= numbers.length, "all messages");

    assert.deepEqual(data(seen), numbers);
    assert.deepEqual(seen.group.map((m) => m.sequenceId), numbers.map((number) => number + 1));
    assert.equal(seen.connected.length, 1);
    // Sending works again as well, and an id that was processed before the break is still known.
    await client.sendToGroup("g", "again", "text");
    assert.ok(await admin.connectionExists(seen.connected[0].connectionId));
  });
}

test("a simple client of the ws package receives messages as they are", async (t) => {
  const admin = service();
  const { url } = await admin.getClientAccessToken({ groups: ["g"] });
  const socket = new WebSocket(url);
  t.after(() => socket.terminate());
  const received = [];
  socket.on("message", (payload, isBinary) => received.push([payload.toString("latin1"), isBinary]));
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  await admin.sendToAll('{ "a" : 1 }', { contentType: "text/plain" });
  await admin.sendToAll("x");
  await admin.sendToAll(new Uint8Array([1, 255]).buffer);
  await until(() => received.length === 3, "three messages");

  assert.deepEqual(received, [['{ "a" : 1 }', false], ['"x"', false], ["\u0001\u00ff", true]]);
});
