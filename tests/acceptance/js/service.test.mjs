// The official JavaScript service library, unmodified.
import assert from "node:assert/strict";
import test from "node:test";
import { AzureKeyCredential, WebPubSubServiceClient } from "@azure/web-pubsub";
import { accessKey, connect, endpoint, service, until } from "./support.mjs";

const claims = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString("utf8"));
const text = { contentType: "text/plain" };
const received = (seen) => [...seen.group, ...seen.server].map((message) => message.data);

/** Waits until everything sent before has arrived at these clients: a last message to each is the fence. */
async function settle(admin, ...clients) {
  for (const { seen } of clients) {
    await admin.sendToConnection(seen.connected.at(-1).connectionId, "fence", text);
    await until(() => seen.server.some((message) => message.data === "fence"), "the fence");
    seen.server = seen.server.filter((message) => message.data !== "fence");
  }
}

test("unknown targets are no fault", async () => {
  const admin = service();
  await admin.sendToUser("nobody", "x", text);
  await admin.sendToConnection("nobody", "x", text);
  await admin.group("nobody").sendToAll("x", text);
  await admin.closeConnection("nobody");
  await admin.removeConnectionFromAllGroups("nobody");
  await admin.removeUserFromAllGroups("nobody");
  await admin.group("g").removeConnection("nobody");
  await admin.group("g").removeUser("nobody");
  await admin.group("g").closeAllConnections();
});

test("the words of a refused filter reach the caller as the service's own body", async () => {
  const admin = service();
  const details = [];
  for (const send of [
    () => admin.sendToAll("x", { ...text, filter: "invalid filter" }),
    () => admin.sendToUser("u", "x", { ...text, filter: "invalid filter" }),
    () => admin.group("g").sendToAll("x", { ...text, filter: "invalid filter" }),
  ]) {
    await assert.rejects(send, (error) => {
      assert.equal(error.statusCode, 400);
      // The library leaves a body that it does not take for JSON as it came.
      details.push(JSON.parse(error.message));
      return true;
    });
  }
  const message =
    "Invalid syntax for 'invalid filter': Syntax error at position 14 in 'invalid filter'. (Parameter 'filter')";
  assert.deepEqual(details.map((detail) => detail.message), [message, message, message]);
});

test("filter and exclusion choose the receivers", async (t) => {
  const admin = service();
  const first = await connect(t, admin, { userId: "a", groups: ["g", "odd"] });
  const second = await connect(t, admin, { userId: "b", groups: ["g"] });
  await admin.sendToAll("1", { ...text, filter: "userId eq 'a'" });
  await admin.sendToAll("2", { ...text, filter: "'odd' in groups or userId in ('b')" });
  await admin.group("g").sendToAll("3", { ...text, filter: "not ('odd' in groups)" });
  const excludedConnections = [first.seen.connected[0].connectionId];
  await admin.sendToAll("4", { ...text, excludedConnections });
  await admin.group("g").sendToAll("5", { ...text, excludedConnections, messageTtlSeconds: 300 });
  await settle(admin, first, second);

  assert.deepEqual(received(first.seen).sort(), ["1", "2"]);
  assert.deepEqual(received(second.seen).sort(), ["2", "3", "4", "5"]);
});

test("existence of connections, users and groups, by names of any kind", async (t) => {
  const admin = service();
  const { seen } = await connect(t, admin, { reliable: false, userId: "tenant/alice b+c", groups: ["a/b?c#d ü"] });
  const id = seen.connected[0].connectionId;
  const exist = async () => [
    await admin.connectionExists(id),
    await admin.userExists("tenant/alice b+c"),
    await admin.groupExists("a/b?c#d ü"),
  ];
  assert.deepEqual(await exist(), [true, true, true]);
  assert.deepEqual([await admin.userExists("tenant"), await admin.groupExists("a")], [false, false]);
});

test("connections and users are put into groups and out again", async (t) => {
  const admin = service();
  const first = await connect(t, admin, { userId: "u/1" });
  const second = await connect(t, admin, { userId: "u/1" });
  const group = admin.group("g");
  const id = first.seen.connected[0].connectionId;
  await group.addConnection(id);
  await group.sendToAll("1", text);
  await group.addUser("u/1");
  await group.sendToAll("2", text);
  await group.removeConnection(id);
  await group.sendToAll("3", text);
  await group.removeUser("u/1");
  await group.sendToAll("4", text);
  await admin.addConnectionsToGroups(["g", "h"], `connectionId eq '${id}'`);
  await group.sendToAll("5", text);
  await admin.removeConnectionsFromGroups(["g"], "userId eq 'u/1'");
  await group.sendToAll("6", text);
  await admin.group("h").sendToAll("7", text);
  await admin.removeUserFromAllGroups("u/1");
  await admin.group("h").sendToAll("8", text);
  await settle(admin, first, second);

  assert.deepEqual(received(first.seen), ["1", "2", "5", "7"]);
  assert.deepEqual(received(second.seen), ["2", "3"]);
});

test("an unknown connection cannot be put into a group", async () => {
  await assert.rejects(service().group("g").addConnection("unknown"), (error) => error.statusCode === 404);
});

test("permissions are granted, checked and revoked", async (t) => {
  const admin = service();
  const { client, seen } = await connect(t, admin, { roles: [] });
  const id = seen.connected[0].connectionId;
  const targetName = "a b/ü";
  assert.equal(await admin.hasPermission(id, "sendToGroup", { targetName }), false);
  await admin.grantPermission(id, "sendToGroup", { targetName });
  assert.equal(await admin.hasPermission(id, "sendToGroup", { targetName }), true);
  await client.sendToGroup(targetName, "x", "text");
  await admin.revokePermission(id, "sendToGroup", { targetName });
  assert.equal(await admin.hasPermission(id, "sendToGroup", { targetName }), false);
  await assert.rejects(client.sendToGroup(targetName, "x", "text"));
});

test("permissions of an unknown connection", async () => {
  const admin = service();
  const targetName = "g";
  await assert.rejects(
    admin.grantPermission("unknown", "joinLeaveGroup", { targetName }),
    (error) => error.statusCode === 404,
  );
  await admin.revokePermission("unknown", "joinLeaveGroup", { targetName });
  assert.equal(await admin.hasPermission("unknown", "joinLeaveGroup", { targetName }), false);
});

for (const [spelling, address] of [
  ["as the server tells it", endpoint],
  ["with a slash at its end", `${endpoint}/`],
]) {
  test(`client tokens of an endpoint ${spelling}`, async () => {
    const options = { allowInsecureConnection: true };
    const admin = new WebPubSubServiceClient(address, new AzureKeyCredential(accessKey), "hub", options);
    const base = endpoint.replace(/\/?$/, "/");
    const expected = { default: "client/hubs/hub", mqtt: "clients/mqtt/hubs/hub", socketio: "clients/socketio/hubs/hub" };
    for (const [clientProtocol, path] of Object.entries(expected)) {
      const { token, baseUrl, url } = await admin.getClientAccessToken({
        clientProtocol,
        userId: "u",
        roles: ["r"],
        groups: ["g"],
      });
      assert.equal(claims(token).aud, base + path);
      assert.equal(baseUrl, base.replace("http", "ws") + path);
      assert.equal(url, `${baseUrl}?access_token=${token}`);
    }
    await admin.sendToAll("x", text);
  });
}

test("the members of a group come in pages", async (t) => {
  const admin = service();
  const clients = [];
  for (let number = 0; number < 5; number += 1) {
    clients.push(await connect(t, admin, { reliable: false, userId: `u${number}`, groups: ["g ü"] }));
  }
  await connect(t, admin, { reliable: false, groups: ["other"] });
  const users = new Map(clients.map(({ seen }) => [seen.connected[0].connectionId, seen.connected[0].userId]));
  const ids = [...users.keys()].sort();
  for (const [options, sizes] of [
    [{}, [5]],
    [{ maxPageSize: 2 }, [2, 2, 1]],
    [{ maxPageSize: 2, top: 3 }, [2, 1]],
    [{ top: 4 }, [4]],
  ]) {
    // A promise of an iterator: this library's list must be awaited.
    const listed = await admin.group("g ü").listConnections(options);
    const members = [];
    for await (const member of listed) members.push(member);
    assert.deepEqual(members.map((m) => m.connectionId), ids.slice(0, members.length));
    assert.ok(members.every((m) => users.get(m.connectionId) === m.userId));
    const pages = [];
    for await (const page of (await admin.group("g ü").listConnections(options)).byPage()) pages.push(page.length);
    assert.deepEqual(pages, sizes);
  }
  const nobody = [];
  for await (const member of await admin.group("nobody").listConnections()) nobody.push(member);
  assert.deepEqual(nobody, []);
});

test("closes of a connection, a user, a group and a hub bring their reason", async (t) => {
  const admin = service();
  const reason = `a+b & c/d ü ${"x".repeat(200)}`;
  const closes = [
    (id) => admin.closeConnection(id, { reason }),
    () => admin.closeUserConnections("u", { reason }),
    () => admin.group("g").closeAllConnections({ reason }),
    () => admin.closeAllConnections({ reason }),
  ];
  for (const close of closes) {
    const { seen } = await connect(t, admin, { userId: "u", groups: ["g"], options: { autoReconnect: false } });
    await close(seen.connected[0].connectionId);
    await until(() => seen.disconnected.length === 1, "the disconnected event");
    assert.equal(seen.disconnected[0].message.message, `Application server closed the connection. Reason: ${reason}`);
  }
  assert.equal(await admin.userExists("u"), false);
});

test("a wrong key is refused", async () => {
  const options = { allowInsecureConnection: true };
  const admin = new WebPubSubServiceClient(endpoint, new AzureKeyCredential("k".repeat(44)), "hub", options);
  await assert.rejects(admin.sendToAll("x", text), (error) => error.statusCode === 401);
});
