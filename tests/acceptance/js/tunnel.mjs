// The official client library as the service's tunnel tool uses it: with a protocol of its own in which requests are
// messages and answers are events. Names the user "node" to `connect`, and says on its standard output what it is told.
// Not a test by itself: a test in Python runs it. Its arguments are the endpoint, the hub and an access key.
import { createHmac, randomUUID } from "node:crypto";
import { WebPubSubClient } from "@azure/web-pubsub-client";

const [endpoint, hub, key] = process.argv.slice(2);
const url = `${endpoint.replace(/^http/, "ws")}/server/tunnel?hub=${hub}`;
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

function token() {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { aud: url, sub: randomUUID(), exp: Math.floor(Date.now() / 1000) + 3600 };
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

// As much of MessagePack as these messages have: an array of three, a number, a text, and bytes or nil.
const SIZES = { 0xd9: 1, 0xda: 2, 0xdb: 4, 0xc4: 1, 0xc5: 2, 0xc6: 4 };

function element(data, at) {
  const first = data[at];
  if (first === 0xc0) return [Buffer.alloc(0), at + 1];
  if (first >= 0xa0 && first < 0xc0) return [data.subarray(at + 1, at + 1 + (first & 0x1f)), at + 1 + (first & 0x1f)];
  const start = at + 1 + SIZES[first];
  const end = start + data.readUIntBE(at + 1, SIZES[first]);
  return [data.subarray(start, end), end];
}

function parse(input) {
  const data = Buffer.from(input);
  const [text, next] = element(data, 6);
  return { ...JSON.parse(text.toString()), Type: data[5], Content: element(data, next)[0] };
}

function written(fields, content) {
  const long = (first, bytes) => {
    const head = Buffer.alloc(5);
    head[0] = first;
    head.writeUInt32BE(bytes.length, 1);
    return Buffer.concat([head, bytes]);
  };
  const parts = [Buffer.from([0x93, fields.Type]), long(0xdb, Buffer.from(JSON.stringify(fields))), long(0xc6, content)];
  const packed = Buffer.concat(parts);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(packed.length);
  return new Uint8Array(Buffer.concat([length, packed])).slice();
}

const protocol = {
  name: "",
  isReliableSubProtocol: false,
  parseMessages(input) {
    const message = parse(input);
    if (message.Type !== 10) return { kind: "serverData", dataType: "binary", data: input };
    return { kind: "connected", connectionId: message.ConnectionId, userId: message.UserId ?? "", reconnectionToken: "" };
  },
  writeMessage: (message) => message.data.buffer,
};

const client = new WebPubSubClient(
  { getClientAccessUrl: () => `${url}&access_token=${token()}` },
  { protocol, autoReconnect: true, keepAliveIntervalInMs: 0, keepAliveTimeoutInMs: 0 },
);
// Node refuses an empty name of a subprotocol, so the tool leaves it out like this.
const factory = client._getWebSocketClientFactory.bind(client);
client._getWebSocketClientFactory = () => ({ create: (uri) => factory().create(uri, undefined) });

client.on("connected", () => console.log(`listening at ${endpoint}`));
client.on("server-message", async ({ message: { data } }) => {
  const { Type, Content, AckId, LocalRouting, ChannelName, HttpMethod, Url, Headers, Message } = parse(data);
  if (Type !== 1) return say({ told: Type, Message });
  const [event] = Headers["ce-eventName"];
  say({ method: HttpMethod, path: new URL(Url).pathname, event, body: Content.toString() });
  const answer = Buffer.from(event === "connect" ? '{"userId":"node"}' : "");
  const headers = { "content-type": ["application/json"] };
  const fields = { Type: 2, AckId, LocalRouting, StatusCode: 200, ChannelName, NotCompleted: false, Headers: headers };
  await client.sendEvent("2", written(fields, answer), "binary", { fireAndForget: true });
});
await client.start();
