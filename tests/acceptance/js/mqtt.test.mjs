// mqtt.js, unmodified and with its default options, in both versions; on the other side the official client library.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import mqtt from "mqtt";
import { at, connect, endpoint, proxy, service, until } from "./support.mjs";

const ROLES = ["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"];
const NOT_AUTHORIZED = 0x87;

/** The URL as the official library makes it; with a port, one that leads through a proxy there. */
async function url(admin, { port, ...token } = {}) {
  const maker = port ? at(port, admin.hubName) : admin;
  return (await maker.getClientAccessToken({ clientProtocol: "mqtt", roles: ROLES, ...token })).url;
}

/** A connected client with the library's defaults, which ends with the test. What it is told is kept in lists. */
async function open(t, address, options = {}) {
  const client = mqtt.connect(address, options);
  const seen = { connacks: [], messages: [], disconnects: [], errors: [], closes: 0 };
  client.on("connect", (packet) => seen.connacks.push(packet));
  client.on("message", (topic, payload, packet) => seen.messages.push({ topic, payload, packet }));
  client.on("disconnect", (packet) => seen.disconnects.push(packet));
  client.on("error", (error) => seen.errors.push(error));
  client.on("close", () => (seen.closes += 1));
  t.after(() => client.endAsync(true));
  await until(() => seen.connacks.length === 1 || seen.errors.length > 0, "a CONNACK");
  assert.deepEqual(seen.errors, []);
  return { client, seen };
}

for (const protocolVersion of [4, 5]) {
  const version = { protocolVersion };
  const v5 = protocolVersion === 5;

  test(`version ${protocolVersion}: subscribes, publishes, receives and leaves`, async (t) => {
    const admin = service();
    const { client, seen } = await open(t, await url(admin), v5 ? version : {});
    assert.match(client.options.clientId, /^mqttjs_[0-9a-f]{8}$/);
    assert.equal(client.options.protocolVersion, protocolVersion);
    assert.equal(seen.connacks[0].sessionPresent, false);
    for (const qos of [0, 1, 2]) {
      const [granted] = await client.subscribeAsync(`site/${qos}`, { qos });
      assert.deepEqual([granted.topic, granted.qos], [`site/${qos}`, qos]);
      await client.publishAsync(`site/${qos}`, Buffer.from([0, 255, qos]), { qos });
    }
    await until(() => seen.messages.length === 3, "three messages");
    for (const { topic, payload, packet } of seen.messages) {
      assert.equal(topic, `site/${packet.qos}`);
      assert.deepEqual([...payload], [0, 255, packet.qos]);
      assert.equal(packet.retain, false);
    }
    await client.unsubscribeAsync("site/1");
    await client.publishAsync("site/1", "nobody hears this", { qos: 1 });
    await client.publishAsync("site/2", "still here", { qos: 1 });
    await until(() => seen.messages.length === 4, "a fourth message");
    assert.equal(seen.messages[3].payload.toString(), "still here");
    assert.equal(await admin.connectionExists(client.options.clientId), true);
    await client.endAsync();
    await until(async () => !(await admin.connectionExists(client.options.clientId)), "the end of the session");
    assert.deepEqual(seen.errors, []);
  });

  test(`version ${protocolVersion}: hears by filters with wildcards, until they end`, async (t) => {
    const admin = service();
    const { client, seen } = await open(t, await url(admin), version);
    const granted = await client.subscribeAsync({ "site/+/door": { qos: 1 }, "site/#": { qos: 2 } });
    assert.deepEqual(
      granted.map(({ topic, qos }) => [topic, qos]),
      [["site/+/door", 1], ["site/#", 2]],
    );
    const send = (group) => admin.group(group).sendToAll(group, { contentType: "text/plain" });
    for (const group of ["site/a/door", "site", "other", "site/a/door/x"]) await send(group);
    await until(() => seen.messages.length === 3, "what matches");
    await client.unsubscribeAsync("site/#");
    for (const group of ["site", "site/b/door"]) await send(group);
    await until(() => seen.messages.length === 4, "what still matches");
    assert.deepEqual(
      seen.messages.map(({ topic, payload }) => [topic, payload.toString()]),
      ["site/a/door", "site", "site/a/door/x", "site/b/door"].map((topic) => [topic, topic]),
    );
    assert.deepEqual(seen.errors, []);
  });

  test(`version ${protocolVersion}: is sent what was retained before it came`, async (t) => {
    const admin = service();
    const { client } = await open(t, await url(admin), version);
    const { client: other, seen } = await open(t, await url(admin), version);
    await client.publishAsync("state", "on", { qos: 1, retain: true });
    await other.subscribeAsync("state", { qos: 1 });
    await until(() => seen.messages.length === 1, "what was retained");
    await client.publishAsync("state", "off", { qos: 1, retain: true });
    await until(() => seen.messages.length === 2, "a new message");
    const told = seen.messages.map(({ payload, packet }) => [payload.toString(), packet.qos, packet.retain]);
    assert.deepEqual(told, [["on", 1, true], ["off", 1, false]]);
    await other.unsubscribeAsync("state");
    await client.publishAsync("state", "", { qos: 1, retain: true });
    await other.subscribeAsync("state", { qos: 1 });
    await client.publishAsync("state", "again", { qos: 1 });
    await until(() => seen.messages.length === 3, "a third message");
    assert.equal(seen.messages[2].payload.toString(), "again");
  });

  test(`version ${protocolVersion}: shares a subscription with another client`, async (t) => {
    const admin = service();
    const workers = [await open(t, await url(admin), version), await open(t, await url(admin), version)];
    for (const { client } of workers) {
      const [granted] = await client.subscribeAsync("$share/workers/jobs/+", { qos: 1 });
      assert.equal(granted.qos, 1);
    }
    const jobs = Array.from({ length: 10 }, (_, number) => `jobs/${number}`);
    for (const job of jobs) await admin.group(job).sendToAll(job, { contentType: "text/plain" });
    const done = () => workers.flatMap(({ seen }) => seen.messages.map(({ topic }) => topic));
    await until(() => done().length === jobs.length, "all jobs");
    assert.deepEqual(done().sort(), jobs);
    await workers[0].client.unsubscribeAsync("$share/workers/jobs/+");
    const before = workers[1].seen.messages.length;
    await admin.group("jobs/x").sendToAll("x", { contentType: "text/plain" });
    await until(() => workers[1].seen.messages.length === before + 1, "a job for who is left");
  });

  test(`version ${protocolVersion}: talks to the official client library and to the server`, async (t) => {
    const admin = service();
    const { client, seen } = await open(t, await url(admin, { userId: "device" }), version);
    const other = await connect(t, admin, { userId: "browser" });
    await other.client.joinGroup("g");
    await client.subscribeAsync("g", { qos: 1 });

    await client.publishAsync("g", "from a device", v5 ? { qos: 1, properties: { contentType: "text/plain" } } : { qos: 1 });
    await until(() => other.seen.group.length === 1, "a message from the device");
    const [{ data, dataType, fromUserId }] = other.seen.group;
    assert.equal(fromUserId, "device");
    assert.equal(dataType, v5 ? "text" : "binary");
    assert.equal(v5 ? data : Buffer.from(data).toString(), "from a device");

    await other.client.sendToGroup("g", { from: "a browser" }, "json", { noEcho: true });
    await admin.sendToUser("device", "from the server", { contentType: "text/plain" });
    await until(() => seen.messages.length === 3, "three messages");
    assert.deepEqual(
      seen.messages.map(({ topic, payload }) => [topic, payload.toString()]),
      [
        ["g", "from a device"],
        ["g", '{"from":"a browser"}'],
        ["$webpubsub/server/messages", "from the server"],
      ],
    );
    if (v5) assert.equal(seen.messages[1].packet.properties.contentType, "application/json");
  });

  test(`version ${protocolVersion}: is told what it may not do`, async (t) => {
    const { client, seen } = await open(t, await url(service(), { roles: [] }), version);
    await assert.rejects(client.subscribeAsync("g", { qos: 1 }), v5 ? /Not authorized/ : /Unspecified error/);
    for (const qos of [1, 2]) {
      const publish = client.publishAsync("g", "x", { qos });
      if (v5) await assert.rejects(publish, (error) => error.code === NOT_AUTHORIZED);
      else await publish; // 3.1.1 has no way to say no
    }
    assert.equal(seen.closes, 0);
    client.publish("g", "x", { qos: 0 });
    await until(() => seen.closes >= 1, "the end of the connection");
    if (v5) assert.equal(seen.disconnects[0].reasonCode, NOT_AUTHORIZED);
  });

  test(`version ${protocolVersion}: comes back to its session and misses nothing`, async (t) => {
    const admin = service();
    const between = await proxy(t);
    const options = {
      ...version,
      clientId: `device${randomUUID().replaceAll("-", "")}`,
      clean: false,
      reconnectPeriod: 50,
      ...(v5 ? { properties: { sessionExpiryInterval: 30 } } : {}),
    };
    t.after(() => admin.closeAllConnections());
    const { client, seen } = await open(t, await url(admin, { port: between.port }), options);
    await client.subscribeAsync("g", { qos: 2 });
    const sent = [];
    for (let round = 1; round <= 3; round += 1) {
      await until(() => between.connections() === 1 && seen.connacks.length === round, "a connection to break");
      assert.equal(between.cut(), 1);
      for (let number = 0; number < 10; number += 1) {
        sent.push(`${round}.${number}`);
        await admin.group("g").sendToAll(sent.at(-1), { contentType: "text/plain" });
      }
    }
    // What was on its way when the connection broke may come twice: it was sent with QoS 1.
    const heard = () => [...new Set(seen.messages.map(({ payload }) => payload.toString()))];
    await until(() => heard().length >= sent.length, "all messages");
    assert.deepEqual(heard(), sent);
    assert.deepEqual(
      seen.connacks.map(({ sessionPresent }) => sessionPresent),
      [false, true, true, true],
    );
  });

  test(`version ${protocolVersion}: publishes with QoS 2 through a road that breaks`, async (t) => {
    const admin = service();
    const between = await proxy(t);
    const listener = await connect(t, admin, { groups: ["g"] });
    const options = { ...version, clientId: `device${randomUUID().replaceAll("-", "")}`, clean: false, reconnectPeriod: 50 };
    if (v5) options.properties = { sessionExpiryInterval: 30 };
    t.after(() => admin.closeAllConnections());
    const { client } = await open(t, await url(admin, { port: between.port }), options);
    const sent = [];
    for (let number = 0; number < 40; number += 1) {
      sent.push(`${number}`);
      const publishing = client.publishAsync("g", sent.at(-1), { qos: 2 });
      if (number % 10 === 5) {
        await until(() => between.connections() === 1, "a connection to break");
        between.cut();
      }
      await publishing;
    }
    await until(() => listener.seen.group.length >= sent.length, "all messages");
    const heard = listener.seen.group.map(({ data }) => Buffer.from(data).toString());
    assert.deepEqual(heard, sent);
  });

  test(`version ${protocolVersion}: is not let in without a valid token`, async (t) => {
    const address = new URL(await url(service()));
    address.searchParams.set("access_token", "x.y.z");
    const client = mqtt.connect(address.href, { ...version, reconnectPeriod: 0 });
    t.after(() => client.endAsync(true));
    const told = [];
    for (const event of ["connect", "close"]) client.on(event, () => told.push(event));
    await until(() => told.length > 0, "an end");
    assert.deepEqual(told, ["close"]); // why is told to nobody by this library
  });
}

test("properties reach another client as they were", async (t) => {
  const admin = service();
  const { client } = await open(t, await url(admin), { protocolVersion: 5 });
  const { client: other, seen } = await open(t, await url(admin), { protocolVersion: 5 });
  await other.subscribeAsync("g", { qos: 1, properties: { subscriptionIdentifier: 7 } });
  const properties = {
    contentType: "application/json",
    payloadFormatIndicator: true,
    responseTopic: "answers/1",
    correlationData: Buffer.from([0, 255]),
    userProperties: { a: ["1", "2"], b: "ü" },
  };
  await client.publishAsync("g", "{}", { qos: 1, properties });
  await until(() => seen.messages.length === 1, "the message");
  const received = seen.messages[0].packet.properties;
  assert.deepEqual({ ...received.userProperties }, properties.userProperties);
  assert.deepEqual({ ...received, userProperties: 0 }, { ...properties, userProperties: 0, subscriptionIdentifier: 7 });
});

test("what is granted and what is not is in the CONNACK", async (t) => {
  const { seen } = await open(t, await url(service()), {
    protocolVersion: 5,
    clientId: "",
    clean: true,
    keepalive: 600,
    properties: { sessionExpiryInterval: 1_000_000 },
  });
  const { properties } = seen.connacks[0];
  assert.match(properties.assignedClientIdentifier, /^[0-9a-f]{32}$/);
  delete properties.assignedClientIdentifier;
  assert.deepEqual(properties, {
    sessionExpiryInterval: 604_800,
    serverKeepAlive: 180,
    receiveMaximum: 1024,
    topicAliasMaximum: 16,
    maximumPacketSize: 1 << 20,
  });
});

test("the address is that of the endpoint of MQTT clients", async () => {
  const address = new URL(await url(service("h")));
  assert.equal(address.pathname, "/clients/mqtt/hubs/h");
  assert.equal(address.host, new URL(endpoint).host);
});

test("version 5: gives numbers to topics, more of them than the server keeps, and is understood", async (t) => {
  const admin = service();
  const options = { protocolVersion: 5, autoAssignTopicAlias: true };
  const { client, seen } = await open(t, await url(admin), options);
  const most = seen.connacks[0].properties.topicAliasMaximum;
  assert.ok(most > 0);
  const sent = [];
  client.on("packetsend", (packet) => packet.cmd === "publish" && sent.push(packet.topic));
  const topics = Array.from({ length: most + 4 }, (_, number) => `site/${number}`);
  await client.subscribeAsync(topics, { qos: 1 });
  const said = [...topics, ...topics.slice(-most), ...topics];
  for (const topic of said) await client.publishAsync(topic, topic, { qos: 1 });
  await until(() => seen.messages.length === said.length, "all messages");
  assert.deepEqual(
    seen.messages.map(({ topic, payload }) => [topic, payload.toString()]),
    said.map((topic) => [topic, topic]),
  );
  assert.equal(sent.filter((topic) => topic === "").length, most, "what has a number goes without its topic");
  assert.deepEqual(seen.errors, []);
});
