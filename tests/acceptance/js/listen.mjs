// The official client, which tells on its standard output what happens to it, a line of JSON for each thing. It stops
// when its standard input ends.
import { WebPubSubClient } from "@azure/web-pubsub-client";

const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const client = new WebPubSubClient(process.argv[2]);
client.on("connected", (event) => tell({ connected: event.connectionId }));
client.on("disconnected", () => tell({ disconnected: true }));
client.on("stopped", () => tell({ stopped: true }));
client.on("group-message", (event) => tell({ message: event.message.data }));
await client.start();
process.stdin.on("end", () => {
  client.stop();
  process.exit();
});
process.stdin.resume();
