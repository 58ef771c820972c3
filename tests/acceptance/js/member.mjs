// A member of a group that says on its standard output, a JSON value a line, what happens to it. Not a test by itself:
// tests in Python run it for as long as they need it. Its arguments are a client URL, "reliable" or "plain", and the group.
import { WebPubSubClient, WebPubSubJsonProtocol, WebPubSubJsonReliableProtocol } from "@azure/web-pubsub-client";

const [url, kind, group] = process.argv.slice(2);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const client = new WebPubSubClient(url, {
  protocol: kind === "reliable" ? WebPubSubJsonReliableProtocol() : WebPubSubJsonProtocol(),
  // For as long as the test runs: the server is away for some seconds, and the delays between attempts grow.
  reconnectRetryOptions: { maxRetries: 1000, retryDelayInMs: 100, maxRetryDelayInMs: 500 },
});
client.on("connected", (event) => say({ connected: event.connectionId }));
client.on("group-message", (event) => say({ message: event.message.data }));
client.on("stopped", () => say({ stopped: true }));
await client.start();
await client.joinGroup(group);
say({ joined: group });
