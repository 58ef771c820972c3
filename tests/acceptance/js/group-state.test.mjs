// States of groups through the official JavaScript client. Version 1.1.0 has their frames in its protocol and no method
// for them: so its own way to send a request with an ack is called, and what its protocol reads is kept.
import assert from "node:assert/strict";
import test from "node:test";
import { WebPubSubJsonProtocol, WebPubSubJsonReliableProtocol } from "@azure/web-pubsub-client";
import { connect, proxy, service, until } from "./support.mjs";

async function member(t, admin, { reliable = true, ...more } = {}) {
  const official = reliable ? WebPubSubJsonReliableProtocol() : WebPubSubJsonProtocol();
  const heard = [];
  const protocol = {
    name: official.name,
    isReliableSubProtocol: official.isReliableSubProtocol,
    writeMessage: (message) => official.writeMessage(message),
    parseMessages: (input) => {
      const message = official.parseMessages(input);
      if (message?.kind.startsWith("groupState")) heard.push(message);
      return message;
    },
  };
  const { client, seen } = await connect(t, admin, { options: { protocol }, ...more });
  const ask = (kind, group, state) => client._sendMessageWithAckId((ackId) => ({ kind, group, state, ackId }));
  return {
    client,
    seen,
    heard,
    id: seen.connected[0].connectionId,
    set: (state, group = "g") => ask("setGroupState", group, state),
    say: (state, group = "g") => client._sendMessage({ kind: "setGroupState", group, state }),
    subscribe: (group = "g") => ask("subscribeGroupState", group),
    unsubscribe: (group = "g") => ask("unsubscribeGroupState", group),
  };
}

const states = (message) => Object.fromEntries(message.items.map((item) => [item.connectionId, item.state]));

for (const reliable of [false, true]) {
  const name = reliable ? "reliable" : "plain";

  test(`${name}: a subscriber is told all states and each change`, async (t) => {
    const admin = service();
    const one = await member(t, admin, { reliable, userId: "u" });
    const watcher = await member(t, admin, { reliable });
    await one.set({ status: "typing" });
    await watcher.subscribe();
    await until(() => watcher.heard.length === 1, "the snapshot");
    await one.set({});
    await one.set(undefined);
    await watcher.unsubscribe();
    await one.set({ status: "unheard" });

    const [snapshot, ...updates] = watcher.heard;
    assert.equal(snapshot.kind, "groupStateSnapshot");
    assert.equal(snapshot.items[0].userId, "u");
    assert.deepEqual(states(snapshot), { [one.id]: { status: "typing" } });
    assert.deepEqual(updates.map((message) => message.kind), ["groupStateUpdate", "groupStateUpdate"]);
    assert.deepEqual(updates.map(states), [{ [one.id]: {} }, { [one.id]: undefined }]);
    const times = watcher.heard.map((message) => message.items[0].updatedAt);
    assert.ok(times[0] < times[1] && times[1] < times[2]);
  });

  test(`${name}: a state ends when its client leaves the group, and with the client`, async (t) => {
    const admin = service();
    const watcher = await member(t, admin, { reliable });
    const [leaving, closed] = [await member(t, admin, { reliable }), await member(t, admin, { reliable })];
    await watcher.subscribe();
    for (const one of [leaving, closed]) {
      await one.client.joinGroup("g");
      await one.set({});
    }
    await leaving.client.leaveGroup("g");
    await admin.closeConnection(closed.id);
    await until(() => watcher.heard.length === 5, "both ends");

    assert.deepEqual(watcher.heard.slice(3).map(states), [{ [leaving.id]: undefined }, { [closed.id]: undefined }]);
  });

  test(`${name}: who may not is told so`, async (t) => {
    const one = await member(t, service(), { reliable, roles: [] });
    for (const refused of [one.set({}), one.subscribe()]) {
      await assert.rejects(refused, (error) => error.errorDetail.name === "Forbidden");
    }
  });
}

test("more updates than may be unacknowledged do not end a reliable client", async (t) => {
  const admin = service();
  const one = await member(t, admin, { reliable: false });
  const watcher = await member(t, admin);
  await watcher.subscribe();
  const count = 1500;
  for (let number = 1; number <= count; number++) await one.say({ number: String(number) });
  await until(() => watcher.heard.length === count + 1, "all updates");

  assert.deepEqual(watcher.heard.at(-1).items[0].state, { number: String(count) });
  await watcher.client.joinGroup("g");
  assert.equal(watcher.seen.disconnected.length, 0);
});

test("a reliable client that lost its socket is told all states again, and keeps its own", async (t) => {
  const admin = service();
  const between = await proxy(t);
  const watcher = await member(t, admin, { port: between.port });
  const one = await member(t, admin);
  await watcher.set({ mine: "1" });
  await watcher.subscribe();
  await until(() => watcher.heard.length === 1, "the first snapshot");
  between.cut();
  await one.set({ status: "typing" });
  await until(() => watcher.heard.at(-1).items.length === 2, "the second snapshot");

  assert.equal(watcher.seen.connected.length, 1); // it says so of new connections only
  assert.equal(watcher.heard.at(-1).kind, "groupStateSnapshot");
  assert.deepEqual(states(watcher.heard.at(-1)), { [watcher.id]: { mine: "1" }, [one.id]: { status: "typing" } });
});
