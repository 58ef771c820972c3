// The official JavaScript management library with its default scope, which is the endpoint that it is given.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { WebPubSubManagementClient } from "@azure/arm-webpubsub";
import { ClientSecretCredential } from "@azure/identity";
import { WebPubSubServiceClient } from "@azure/web-pubsub";

const ready = JSON.parse(readFileSync(process.env.HUBWIRE_READY_FILE, "utf8"));
const { authority, tenantId, clientId, clientSecret, subscriptionId, httpsEndpoint } = ready;
const prefix = process.env.HUBWIRE_NAME;
const group = `${prefix}-js`;
const credential = new ClientSecretCredential(tenantId, clientId, clientSecret, {
  authorityHost: authority,
  disableInstanceDiscovery: true,
});

/** A client, and the method and path of each request that it has sent. */
function manager(options = {}) {
  const sent = [];
  const client = new WebPubSubManagementClient(credential, subscriptionId, { endpoint: httpsEndpoint, ...options });
  client.pipeline.addPolicy({
    name: "seen",
    sendRequest(request, next) {
      sent.push(`${request.method} ${new URL(request.url).pathname}`);
      return next(request);
    },
  });
  return { client, sent };
}

async function collect(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

const standard = { location: "eastus", sku: { name: "Standard_S1", capacity: 1 } };

for (const name of ["Free_F1", "Standard_S1", "Premium_P1", "Premium_P2"]) {
  test(`a resource is created with ${name}, in one request`, async () => {
    const { client, sent } = manager();
    const resource = `${prefix}${name.replace("_", "")}`;
    const made = await client.webPubSub.beginCreateOrUpdateAndWait(group, resource, { location: "eastus", sku: { name } });
    assert.equal(sent.length, 1);
    assert.equal(made.provisioningState, "Succeeded");
    assert.equal(made.sku.name, name);
    assert.equal(made.sku.tier, name.split("_")[0]);
    assert.deepEqual(await client.webPubSub.get(group, resource), made);
    await client.webPubSub.beginDeleteAndWait(group, resource);
  });
}

test("a resource is changed, restarted, listed and deleted, each in one request", async () => {
  const { client, sent } = manager();
  const name = `${prefix}life`;
  await client.webPubSub.beginCreateOrUpdateAndWait(group, name, standard);
  const changed = await client.webPubSub.beginUpdateAndWait(group, name, { ...standard, tags: { a: "b" } });
  assert.deepEqual(changed.tags, { a: "b" });
  await client.webPubSub.beginRestartAndWait(group, name);
  assert.deepEqual((await collect(client.webPubSub.listByResourceGroup(group))).map((one) => one.name), [name]);
  assert.ok((await collect(client.webPubSub.listBySubscription())).some((one) => one.name === name));
  await client.webPubSub.beginDeleteAndWait(group, name);
  await client.webPubSub.beginDeleteAndWait(group, name);
  assert.equal(sent.length, 7);
  await assert.rejects(client.webPubSub.get(group, name), { code: "ResourceNotFound", statusCode: 404 });
});

test("hubs are put, got, listed and deleted", async () => {
  const { client, sent } = manager();
  const name = `${prefix}hubs`;
  await client.webPubSub.beginCreateOrUpdateAndWait(group, name, standard);
  const properties = {
    anonymousConnectPolicy: "allow",
    eventHandlers: [{ urlTemplate: "https://example.org/{hub}", userEventPattern: "*", systemEvents: ["connect"] }],
  };
  sent.length = 0;
  const hub = await client.webPubSubHubs.beginCreateOrUpdateAndWait("chat", group, name, { properties });
  assert.equal(sent.length, 1);
  assert.equal(hub.properties.anonymousConnectPolicy, "allow");
  assert.equal(hub.properties.eventHandlers[0].urlTemplate, "https://example.org/{hub}");
  assert.deepEqual(await client.webPubSubHubs.get("chat", group, name), hub);
  assert.deepEqual((await collect(client.webPubSubHubs.list(group, name))).map((one) => one.name), ["chat"]);
  await client.webPubSubHubs.beginDeleteAndWait("chat", group, name);
  await assert.rejects(client.webPubSubHubs.get("chat", group, name), { statusCode: 404 });
});

test("keys open the service, and a regenerated one does no more", async () => {
  const { client, sent } = manager();
  const name = `${prefix}keys`;
  await client.webPubSub.beginCreateOrUpdateAndWait(group, name, standard);
  const before = await client.webPubSub.listKeys(group, name);
  const options = { allowInsecureConnection: true };
  const service = (keys) => new WebPubSubServiceClient(keys.primaryConnectionString, "h", options);
  await service(before).sendToAll("x", { contentType: "text/plain" });
  sent.length = 0;
  const after = await client.webPubSub.beginRegenerateKeyAndWait(group, name, { keyType: "Primary" });
  assert.equal(sent.length, 1);
  assert.notEqual(after.primaryKey, before.primaryKey);
  assert.equal(after.secondaryKey, before.secondaryKey);
  await assert.rejects(service(before).sendToAll("x", { contentType: "text/plain" }), { statusCode: 401 });
  await service(after).sendToAll("x", { contentType: "text/plain" });
});

test("names, skus, usages and operations are told", async () => {
  const { client } = manager();
  const name = `${prefix}told`;
  await client.webPubSub.beginCreateOrUpdateAndWait(group, name, standard);
  const check = (text) =>
    client.webPubSub.checkNameAvailability("eastus", { type: "Microsoft.SignalRService/WebPubSub", name: text });
  assert.equal((await check(`${name}x`)).nameAvailable, true);
  assert.deepEqual([(await check(name)).nameAvailable, (await check(name)).reason], [false, "AlreadyExists"]);
  assert.equal((await check("1")).reason, "Invalid");
  assert.equal((await client.webPubSub.listSkus(group, name)).value.length, 4);
  assert.ok((await collect(client.usages.list("eastus"))).length > 0);
  assert.ok((await collect(client.operations.list())).some((one) => one.name.endsWith("/write")));
});

test("what cannot be is an error with its code", async () => {
  const { client } = manager();
  const name = `${prefix}wrong`;
  const wrong = { location: "eastus", sku: { name: "Standard_S9" } };
  await assert.rejects(client.webPubSub.beginCreateOrUpdateAndWait(group, name, wrong), { statusCode: 400 });
  await assert.rejects(client.webPubSub.beginDeleteAndWait("hubwire", "default"), { statusCode: 409 });
  await assert.rejects(collect(client.webPubSubCustomDomains.list("hubwire", "default")), {
    code: "FeatureNotAvailable",
    statusCode: 501,
  });
});

test("replicas are kept", async () => {
  const { client } = manager();
  const name = `${prefix}copies`;
  await client.webPubSub.beginCreateOrUpdateAndWait(group, name, standard);
  const made = await client.webPubSubReplicas.beginCreateOrUpdateAndWait(group, name, "west", { location: "westus" });
  assert.equal(made.name, "west");
  assert.deepEqual((await collect(client.webPubSubReplicas.list(group, name))).map((one) => one.name), ["west"]);
  await client.webPubSubReplicas.beginRestartAndWait(group, name, "west");
  await client.webPubSubReplicas.delete(group, name, "west");
  assert.deepEqual(await collect(client.webPubSubReplicas.list(group, name)), []);
});

for (const scope of ["https://management.azure.com/.default", "https://management.core.windows.net/.default"]) {
  test(`a token for ${scope} is taken`, async () => {
    const { client } = manager({ credentialScopes: [scope] });
    assert.equal((await client.webPubSub.get("hubwire", "default")).name, "default");
  });
}
