// The official JavaScript identity library, the service library with its credentials, and tokens as others verify them.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import test from "node:test";
import { ClientCertificateCredential, ClientSecretCredential } from "@azure/identity";
import { WebPubSubServiceClient } from "@azure/web-pubsub";
import { createRemoteJWKSet, decodeJwt, jwtVerify } from "jose";
import { connect, until } from "./support.mjs";

const ready = JSON.parse(readFileSync(process.env.HUBWIRE_READY_FILE, "utf8"));
const { authority, tenantId, clientId, clientSecret, httpsEndpoint } = ready;
const issuer = { authorityHost: authority, disableInstanceDiscovery: true };
const resource = "https://webpubsub.azure.com";
const scope = `${resource}/.default`;
const text = { contentType: "text/plain" };

/** An application that the test before us made: its id, and what it proves itself with. */
const reader = JSON.parse(process.env.HUBWIRE_READER);
const certified = JSON.parse(process.env.HUBWIRE_CERTIFIED);

function service(credential, hub = `js${randomUUID().replaceAll("-", "")}`) {
  return Object.assign(new WebPubSubServiceClient(httpsEndpoint, credential, hub), { hubName: hub });
}

const owner = () => new ClientSecretCredential(tenantId, clientId, clientSecret, issuer);

test("a secret gets a token for the service", async () => {
  const { token, expiresOnTimestamp } = await owner().getToken(scope);
  const claims = decodeJwt(token);
  assert.deepEqual([claims.aud, claims.appid, claims.appidacr, claims.tid], [resource, clientId, "1", tenantId]);
  assert.ok(Math.abs(expiresOnTimestamp - claims.exp * 1000) < 60_000);
});

for (const sendCertificateChain of [false, true]) {
  test(`a certificate gets tokens for several resources, chain ${sendCertificateChain}`, async () => {
    const credential = new ClientCertificateCredential(
      tenantId,
      certified.clientId,
      { certificatePath: certified.path },
      { ...issuer, sendCertificateChain },
    );
    for (const audience of [resource, "https://communication.azure.com/"]) {
      const claims = decodeJwt((await credential.getToken(`${audience}/.default`)).token);
      assert.deepEqual([claims.aud, claims.appid, claims.appidacr], [audience, certified.clientId, "2"]);
    }
  });
}

test("several at once can wait for a token of one certificate", async () => {
  const credential = new ClientCertificateCredential(
    tenantId,
    certified.clientId,
    { certificatePath: certified.path },
    issuer,
  );
  const found = await Promise.all(Array.from({ length: 8 }, () => credential.getToken(`${resource}/.default`)));
  assert.ok(found.every(({ token }) => decodeJwt(token).appid === certified.clientId));
});

for (const [what, tenant, client, code] of [
  ["a wrong secret", tenantId, clientId, 7000215],
  ["an unknown application", tenantId, randomUUID(), 700016],
]) {
  test(`${what} is named by its number`, async () => {
    const credential = new ClientSecretCredential(tenant, client, "wrong", issuer);
    await assert.rejects(credential.getToken(scope), (error) => {
      assert.equal(error.name, "AuthenticationRequiredError");
      assert.match(error.message, new RegExp(`AADSTS${code}: `));
      return true;
    });
  });
}

test("an unknown tenant is told", async () => {
  const credential = new ClientSecretCredential(randomUUID(), clientId, clientSecret, issuer);
  await assert.rejects(credential.getToken(scope), /endpoints_resolution_error/);
});

test("an owner sends, asks, and makes a url with which a client connects", async (t) => {
  const admin = service(owner());
  const { client, seen } = await connect(t, admin, { userId: "u", groups: ["g"] });
  await admin.group("g").sendToAll("hello", text);
  await until(() => seen.group.length === 1, "the message");
  assert.equal(seen.group[0].data, "hello");
  assert.equal(seen.connected[0].userId, "u");
  assert.deepEqual([await admin.userExists("u"), await admin.groupExists("g")], [true, true]);
  assert.deepEqual([await admin.userExists("v"), await admin.groupExists("h")], [false, false]);
  assert.equal(await admin.connectionExists(seen.connected[0].connectionId), true);
  await client.leaveGroup("g");
});

test("a url for MQTT clients is another one", async () => {
  const admin = service(owner());
  const { baseUrl, token, url } = await admin.getClientAccessToken({ clientProtocol: "mqtt", groups: ["a/b"] });
  const path = `/clients/mqtt/hubs/${admin.hubName}`;
  assert.equal(baseUrl, httpsEndpoint.replace("https", "wss") + path);
  assert.equal(url, `${baseUrl}?access_token=${token}`);
  assert.equal(decodeJwt(token).aud, httpsEndpoint + path);
  assert.deepEqual(decodeJwt(token)["webpubsub.group"], ["a/b"]);
});

test("a reader may ask and nothing more", async () => {
  const admin = service(new ClientSecretCredential(tenantId, reader.clientId, reader.clientSecret, issuer));
  assert.equal(await admin.userExists("u"), false);
  for (const refused of [() => admin.sendToAll("x", text), () => admin.getClientAccessToken()]) {
    await assert.rejects(refused, (error) => {
      assert.equal(error.statusCode, 403);
      assert.match(error.message, /'Web PubSub Service Owner'/);
      return true;
    });
  }
});

for (const [what, path] of [
  ["the tenant's document of version 2", `${tenantId}/v2.0`],
  ["the tenant's document of version 1", tenantId],
  ["the document for any tenant", "common/v2.0"],
  ["the document of version 1 for any tenant", "common"],
]) {
  test(`a token is verified by who knows ${what} and the audience alone`, async () => {
    const { token } = await owner().getToken(scope);
    const found = await fetch(`${authority}/${path}/.well-known/openid-configuration`);
    const discovery = await found.json();
    const keys = createRemoteJWKSet(new URL(discovery.jwks_uri));
    const options = {
      audience: resource,
      issuer: discovery.issuer.replace("{tenantid}", decodeJwt(token).tid),
      algorithms: discovery.id_token_signing_alg_values_supported,
    };
    const { payload } = await jwtVerify(token, keys, options);
    assert.equal(payload.appid, clientId);

    await assert.rejects(jwtVerify(token, keys, { ...options, audience: "https://other.example.org" }));
    const [head, body, signature] = token.split(".");
    const changed = Buffer.from(JSON.stringify({ ...payload, oid: randomUUID() })).toString("base64url");
    await assert.rejects(jwtVerify([head, changed, signature].join("."), keys, options));
    assert.ok(body);
  });
}
