// The official JavaScript library for identities of users, each usage that its readme shows, in each way that it gets to
// a service; and the official credential, which looks at the tokens.
import assert from "node:assert/strict";
import { createHash, createHmac, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import test from "node:test";
import { AzureCommunicationTokenCredential } from "@azure/communication-common";
import { CommunicationIdentityClient } from "@azure/communication-identity";
import { ClientSecretCredential } from "@azure/identity";
import { AzureKeyCredential } from "@azure/web-pubsub"; // that of the core library, which is no dependency of ours
import { createRemoteJWKSet, decodeJwt, jwtVerify } from "jose";

const ready = JSON.parse(readFileSync(process.env.HUBWIRE_READY_FILE, "utf8"));
const { endpoint: plain, communicationEndpoint, communicationConnectionString: connectionString } = ready;
const accessKey = connectionString.split(";accesskey=")[1];

/** Users of the directory whose tokens the test before us got: what is good of them, and what is not. */
const teams = JSON.parse(process.env.HUBWIRE_TEAMS);
const entra = JSON.parse(process.env.HUBWIRE_ENTRA);

const SCOPES = ["chat", "voip", "chat.join", "chat.join.limited", "voip.join"];
const NOBODY = "00000000-0000-0000-0000-000000000000";
const FOREIGN = { communicationUserId: `8:acs:${NOBODY}_${NOBODY}` };

/** Each way to make a client. Without TLS the library has to be told that this is meant. */
const WAYS = {
  "a key": () =>
    new CommunicationIdentityClient(plain, new AzureKeyCredential(accessKey), { allowInsecureConnection: true }),
  "a connection string": () => new CommunicationIdentityClient(connectionString),
  "a credential": () => {
    const options = { authorityHost: ready.authority, disableInstanceDiscovery: true };
    const credential = new ClientSecretCredential(ready.tenantId, ready.clientId, ready.clientSecret, options);
    return new CommunicationIdentityClient(communicationEndpoint, credential);
  },
};

const scopesOf = (token) => decodeJwt(token).acsScope.split(",");
const minutesOf = (token) => (decodeJwt(token).exp - decodeJwt(token).iat) / 60;
const userOf = (token) => `8:${decodeJwt(token).skypeid}`;

async function isActive(token) {
  const answer = await fetch(`${issuer}/introspect`, {
    method: "POST",
    headers: { Authorization: `Basic ${btoa(`default:${accessKey}`)}` },
    body: new URLSearchParams({ token }),
  });
  assert.equal(answer.status, 200);
  return (await answer.json()).active;
}

const refusal = (statusCode, code) => (error) => {
  assert.equal(error.name, "RestError");
  assert.deepEqual([error.statusCode, error.code], [statusCode, code]);
  return true;
};

/** A request as the library would sign it, for what the library cannot say. */
async function raw(method, path, document) {
  const target = `${path}?api-version=2025-03-02-preview`;
  const body = document ? JSON.stringify(document) : "";
  const date = new Date().toUTCString();
  const hash = createHash("sha256").update(body).digest("base64");
  const text = `${method}\n${target}\n${date};${new URL(communicationEndpoint).host};${hash}`;
  const signature = createHmac("sha256", Buffer.from(accessKey, "base64")).update(text).digest("base64");
  const names = "SignedHeaders=x-ms-date;host;x-ms-content-sha256";
  return fetch(communicationEndpoint + target, {
    method,
    headers: {
      "x-ms-date": date,
      "x-ms-content-sha256": hash,
      "Content-Type": "application/json",
      Authorization: `HMAC-SHA256 ${names}&Signature=${signature}`,
    },
    body: body || undefined,
  });
}

const first = await WAYS["a connection string"]().createUser();
const serviceId = /^8:acs:([0-9a-f-]{36})_/.exec(first.communicationUserId)[1];
const issuer = `${communicationEndpoint}/communication/${serviceId}`;

for (const [way, made] of Object.entries(WAYS)) {
  test(`with ${way}: creating a user`, async () => {
    const user = await made().createUser();
    assert.match(user.communicationUserId, new RegExp(`^8:acs:${serviceId}_[0-9a-f-]{36}$`));
    assert.notEqual(user.communicationUserId, first.communicationUserId);
  });

  for (const scope of SCOPES) {
    test(`with ${way}: a token for ${scope}`, async () => {
      const client = made();
      const user = await client.createUser();
      const { token, expiresOn } = await client.getToken(user, [scope]);
      assert.deepEqual([userOf(token), scopesOf(token)], [user.communicationUserId, [scope]]);
      assert.equal(Math.floor(expiresOn.getTime() / 1000), decodeJwt(token).exp);
      assert.equal(minutesOf(token), 1440);
      assert.equal(await isActive(token), true);
    });
  }

  test(`with ${way}: refreshing a token`, async () => {
    const client = made();
    const user = await client.createUser();
    const tokens = [];
    for (let number = 0; number < 2; number += 1) tokens.push((await client.getToken(user, ["chat"])).token);
    assert.notEqual(tokens[0], tokens[1]);
    assert.deepEqual(await Promise.all(tokens.map(isActive)), [true, true]);
  });

  test(`with ${way}: a token with an expiration of one's own`, async () => {
    const client = made();
    const user = await client.createUser();
    for (const tokenExpiresInMinutes of [60, 1440]) {
      const { token } = await client.getToken(user, ["chat"], { tokenExpiresInMinutes });
      assert.equal(minutesOf(token), tokenExpiresInMinutes);
    }
    for (const tokenExpiresInMinutes of [59, 1441]) {
      const options = { tokenExpiresInMinutes };
      await assert.rejects(client.getToken(user, ["chat"], options), refusal(400, "ValidationError"));
    }
  });

  test(`with ${way}: a user and a token in one request`, async () => {
    const { user, token, expiresOn } = await made().createUserAndToken(["chat", "voip"]);
    assert.deepEqual([userOf(token), scopesOf(token)], [user.communicationUserId, ["chat", "voip"]]);
    assert.equal(Math.floor(expiresOn.getTime() / 1000), decodeJwt(token).exp);
    assert.equal(await isActive(token), true);
  });

  test(`with ${way}: a user and a token with an expiration of one's own in one request`, async () => {
    const client = made();
    for (const tokenExpiresInMinutes of [60, 1440]) {
      const { token } = await client.createUserAndToken(["chat"], { tokenExpiresInMinutes });
      assert.equal(minutesOf(token), tokenExpiresInMinutes);
    }
    for (const tokenExpiresInMinutes of [59, 1441]) {
      const options = { tokenExpiresInMinutes };
      await assert.rejects(client.createUserAndToken(["chat"], options), refusal(400, "ValidationError"));
    }
  });

  test(`with ${way}: revoking the tokens of a user`, async () => {
    const client = made();
    const { user, token } = await client.createUserAndToken(["chat"]);
    const other = await client.createUserAndToken(["chat"]);
    const refreshed = await client.getToken(user, ["chat"]);
    await client.revokeTokens(user);
    const later = await client.getToken(user, ["chat"]);
    const all = [token, refreshed.token, later.token, other.token];
    assert.deepEqual(await Promise.all(all.map(isActive)), [false, false, true, true]);
  });

  test(`with ${way}: deleting a user`, async () => {
    const client = made();
    const { user, token } = await client.createUserAndToken(["chat"]);
    await client.deleteUser(user);
    await client.deleteUser(user);
    assert.equal(await isActive(token), false);
    await assert.rejects(client.getToken(user, ["chat"]), refusal(401, "IdentityNotOwned"));
    await assert.rejects(client.revokeTokens(user), refusal(401, "IdentityNotOwned"));
  });

  test(`with ${way}: exchanging the token of a Teams user`, async () => {
    const client = made();
    const exchange = (changes) =>
      client.getTokenForTeamsUser({
        teamsUserAadToken: teams.token,
        clientId: teams.clientId,
        userObjectId: teams.objectId,
        ...changes,
      });
    const { token, expiresOn } = await exchange();
    assert.equal(userOf(token), `8:orgid:${teams.objectId}`);
    assert.deepEqual(scopesOf(token), ["chat", "voip"]);
    assert.equal(decodeJwt(token).exp, decodeJwt(teams.token).exp);
    assert.equal(expiresOn.getTime(), decodeJwt(teams.token).exp * 1000);
    assert.equal(await isActive(token), true);

    for (const teamsUserAadToken of ["invalid", teams.expired, teams.unsigned, teams.weak, token]) {
      await assert.rejects(exchange({ teamsUserAadToken }), refusal(401, "InvalidAccessToken"));
    }
    for (const changes of [
      { clientId: teams.otherClientId },
      { clientId: "invalid" },
      { userObjectId: randomUUID() },
      { userObjectId: "invalid" },
    ]) {
      await assert.rejects(exchange(changes), refusal(400, "ValidationError"));
    }
  });

  test(`with ${way}: a user of somebody else`, async () => {
    const client = made();
    for (const call of [
      () => client.getToken(FOREIGN, ["chat"]),
      () => client.revokeTokens(FOREIGN),
      () => client.deleteUser(FOREIGN),
    ]) {
      await assert.rejects(call, refusal(401, "IdentityNotOwned"));
    }
  });

  test(`with ${way}: scopes that there are none of`, async () => {
    const client = made();
    const user = await client.createUser();
    for (const scopes of [[], ["fly"], ["Chat"]]) {
      await assert.rejects(client.getToken(user, scopes), refusal(400, "ValidationError"));
    }
  });

  test(`with ${way}: a custom id is not sent by the library that is released`, async () => {
    const client = made();
    const customId = `${randomUUID()}@example.com`;
    const users = [await client.createUser({ customId }), await client.createUser({ customId })];
    assert.notEqual(users[0].communicationUserId, users[1].communicationUserId);
  });
}

test("a custom id, in requests such as the library's preview sends", async () => {
  const customId = `${randomUUID()}@example.com`;
  const created = await raw("POST", "/identities", { customId });
  const again = await raw("POST", "/identities", { customId, createTokenWithScopes: ["chat"] });
  assert.deepEqual([created.status, again.status], [201, 201]);
  const { identity } = await created.json();
  const { identity: same, accessToken } = await again.json();
  assert.deepEqual([same.id, same.customId], [identity.id, customId]);
  assert.equal(userOf(accessToken.token), identity.id);

  const got = await raw("GET", `/identities/${encodeURIComponent(identity.id)}`);
  const { id, customId: known, lastTokenIssuedAt } = await got.json();
  assert.deepEqual([got.status, id, known], [200, identity.id, customId]);
  assert.equal(Math.floor(Date.parse(lastTokenIssuedAt) / 1000), decodeJwt(accessToken.token).iat);
});

test("a wrong key is denied", async () => {
  const other = Buffer.alloc(64).toString("base64");
  const client = new CommunicationIdentityClient(`endpoint=${communicationEndpoint}/;accesskey=${other}`);
  await assert.rejects(client.createUser(), refusal(401, "Denied"));
});

test("a token is verified by who knows the address of the service and no key of it", async () => {
  const { user, token } = await WAYS["a connection string"]().createUserAndToken(["chat"]);
  const discovery = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
  assert.equal(discovery.issuer, issuer);
  assert.equal(discovery.introspection_endpoint, `${issuer}/introspect`);
  const keys = createRemoteJWKSet(new URL(discovery.jwks_uri));
  const options = { issuer, audience: serviceId, algorithms: ["RS256"] };
  const { payload } = await jwtVerify(token, keys, options);
  assert.equal(`8:${payload.skypeid}`, user.communicationUserId);

  const [head, , signature] = token.split(".");
  const changed = Buffer.from(JSON.stringify({ ...payload, acsScope: "chat,voip" })).toString("base64url");
  const code = (expected) => (error) => error.code === expected;
  const unsigned = [head, changed, signature].join(".");
  await assert.rejects(jwtVerify(unsigned, keys, options), code("ERR_JWS_SIGNATURE_VERIFICATION_FAILED"));
  await assert.rejects(jwtVerify(token, keys, { ...options, audience: NOBODY }), code("ERR_JWT_CLAIM_VALIDATION_FAILED"));
  const currentDate = new Date(payload.exp * 1000);
  await assert.rejects(jwtVerify(token, keys, { ...options, currentDate }), code("ERR_JWT_EXPIRED"));
});

// The credential of the libraries for chat and calls

test("the credential reads from each of many tokens when it ends", async () => {
  const client = WAYS["a connection string"]();
  for (let number = 1; number <= 93; number += 1) {
    const scopes = SCOPES.filter((_, place) => (number % 31 || 31) & (1 << place));
    const options = { tokenExpiresInMinutes: 60 + number };
    const { token, expiresOn } = await client.createUserAndToken(scopes, options);
    const credential = new AzureCommunicationTokenCredential(token);
    const read = await credential.getToken();
    assert.equal(read.token, token);
    assert.equal(read.expiresOnTimestamp, Math.floor(expiresOn.getTime() / 1000) * 1000);
    credential.dispose();
  }
});

test("the credential asks for a token, and again when ours is soon to end", async (t) => {
  const client = WAYS["a connection string"]();
  const { user, token } = await client.createUserAndToken(["chat"], { tokenExpiresInMinutes: 60 });
  const asked = new AzureCommunicationTokenCredential({
    tokenRefresher: async () => (await client.getToken(user, ["chat"])).token,
  });
  assert.equal(userOf((await asked.getToken()).token), user.communicationUserId);
  asked.dispose();

  const refreshed = (await client.getToken(user, ["chat"])).token;
  const left = decodeJwt(token).exp * 1000 - Date.now();
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.now() });
  const tokenRefresher = t.mock.fn(async () => refreshed);
  const credential = new AzureCommunicationTokenCredential({ tokenRefresher, token, refreshProactively: true });
  assert.equal((await credential.getToken()).token, token);
  t.mock.timers.tick(left - 11 * 60_000);
  assert.equal(tokenRefresher.mock.callCount(), 0);
  t.mock.timers.tick(60_000);
  assert.equal(tokenRefresher.mock.callCount(), 1);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal((await credential.getToken()).token, refreshed);
  credential.dispose();
});

for (const [what, { token, scope, id, scopes }] of Object.entries(entra)) {
  test(`the credential exchanges the token of ${what}`, async () => {
    for (const resourceEndpoint of [communicationEndpoint, `${communicationEndpoint}/`]) {
      const tokenCredential = {
        getToken: async () => ({ token, expiresOnTimestamp: decodeJwt(token).exp * 1000 }),
      };
      const options = { resourceEndpoint, tokenCredential, scopes: [scope] };
      const exchanged = await new AzureCommunicationTokenCredential(options).getToken();
      assert.equal(userOf(exchanged.token), `8:acs:${serviceId}_${id}`);
      assert.deepEqual(scopesOf(exchanged.token), scopes);
      assert.equal(exchanged.expiresOnTimestamp, decodeJwt(token).exp * 1000);
      assert.equal(await isActive(exchanged.token), true);
    }
  });
}
