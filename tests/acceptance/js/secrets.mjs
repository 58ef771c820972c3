// The official JavaScript Key Vault library, with no option that any other vault would not have.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { ClientSecretCredential } from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";

const ready = JSON.parse(readFileSync(process.env.HUBWIRE_READY_FILE, "utf8"));
const { authority, tenantId } = ready;
/** By what the test before us calls them: the vault's URLs, and who may read it and who may not. */
const { vaultUrl, plainUrl, reader, stranger } = JSON.parse(process.env.HUBWIRE_VAULT);

const signedIn = ({ clientId, clientSecret }) =>
  new ClientSecretCredential(tenantId, clientId, clientSecret, {
    authorityHost: authority,
    disableInstanceDiscovery: true,
  });

async function collect(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

for (const [url, options] of [
  [vaultUrl, {}],
  [plainUrl, { allowInsecureConnection: true }],
]) {
  test(`secrets are set, read, listed and deleted at ${new URL(url).protocol}`, async () => {
    const client = new SecretClient(url, signedIn(reader), options);
    const name = `js-${new URL(url).protocol.replace(":", "")}`;
    const first = await client.setSecret(name, "first", { contentType: "text/plain", tags: { a: "b" } });
    assert.equal(first.properties.vaultUrl, url.replace(/\/$/, ""));
    await client.setSecret(name, "second");
    assert.equal((await client.getSecret(name)).value, "second");
    const old = await client.getSecret(name, { version: first.properties.version });
    assert.deepEqual([old.value, old.properties.contentType, old.properties.tags], ["first", "text/plain", { a: "b" }]);
    assert.equal((await collect(client.listPropertiesOfSecretVersions(name))).length, 2);
    assert.ok((await collect(client.listPropertiesOfSecrets())).some((one) => one.name === name));
    await client.updateSecretProperties(name, first.properties.version, { enabled: false });
    await assert.rejects(client.getSecret(name, { version: first.properties.version }), { statusCode: 403 });
    await (await client.beginDeleteSecret(name)).pollUntilDone();
    await assert.rejects(client.getSecret(name), { code: "SecretNotFound", statusCode: 404 });
  });
}

test("whoever may not is refused", async () => {
  const client = new SecretClient(vaultUrl, signedIn(stranger));
  await assert.rejects(client.getSecret("code"), { code: "Forbidden", statusCode: 403 });
});
