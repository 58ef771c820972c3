// Sends a text to everybody in a hub, as DefaultAzureCredential: whoever the environment makes of it.
import { DefaultAzureCredential } from "@azure/identity";
import { WebPubSubServiceClient } from "@azure/web-pubsub";

const [endpoint, hub, message] = process.argv.slice(2);
const service = new WebPubSubServiceClient(endpoint, new DefaultAzureCredential(), hub);
await service.sendToAll(message, { contentType: "text/plain" });
process.stdout.write(JSON.stringify((await service.getClientAccessToken()).baseUrl));
