// What the tests share: the running server, names of their own, clients that remember what happened to them, and a
// proxy that cuts connections.
import { randomUUID } from "node:crypto";
import net from "node:net";
import WebSocket, { WebSocketServer } from "ws";
import { AzureKeyCredential, WebPubSubServiceClient } from "@azure/web-pubsub";
import { WebPubSubClient, WebPubSubJsonProtocol, WebPubSubJsonReliableProtocol } from "@azure/web-pubsub-client";

export const connectionString = process.env.HUBWIRE_CONNECTION_STRING;
if (!connectionString) throw new Error("HUBWIRE_CONNECTION_STRING names the server to test");

export const endpoint = /Endpoint=([^;]+)/.exec(connectionString)[1];
export const accessKey = /AccessKey=([^;]+)/.exec(connectionString)[1];
const DEADLINE_MS = 25_000;
const ROLES = ["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"];

/** A service client for a hub that no other test uses. */
export function service(hub = `js${randomUUID().replaceAll("-", "")}`) {
  const client = new WebPubSubServiceClient(connectionString, hub, { allowInsecureConnection: true });
  return Object.assign(client, { hubName: hub });
}

/** A service client that takes the server to be at another port. Tokens are good for one address only. */
export function at(port, hub, plain) {
  const address = new URL(plain ? endpoint.replace("https", "http") : endpoint);
  address.port = String(port);
  return new WebPubSubServiceClient(address.href, new AzureKeyCredential(accessKey), hub, {
    allowInsecureConnection: true,
  });
}

/** Resolves as soon as the condition holds; rejects, naming what was waited for, when the time is over. */
export async function until(condition, what) {
  const end = Date.now() + DEADLINE_MS;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A started client; it is stopped when the test is over. What its events brought is kept in lists. */
export async function connect(t, admin, { port, plain, reliable = true, options = {}, ...token } = {}) {
  const { url } = await (port ? at(port, admin.hubName, plain) : admin).getClientAccessToken({ roles: ROLES, ...token });
  const client = new WebPubSubClient(url, {
    protocol: reliable ? WebPubSubJsonReliableProtocol() : WebPubSubJsonProtocol(),
    messageRetryOptions: { maxRetries: 0 },
    reconnectRetryOptions: { retryDelayInMs: 100 },
    ...options,
  });
  const seen = { connected: [], disconnected: [], group: [], server: [], rejoinFailed: [], stopped: 0 };
  client.on("connected", (event) => seen.connected.push(event));
  client.on("disconnected", (event) => seen.disconnected.push(event));
  client.on("group-message", (event) => seen.group.push(event.message));
  client.on("server-message", (event) => seen.server.push(event.message));
  client.on("rejoin-group-failed", (event) => seen.rejoinFailed.push(event.group));
  client.on("stopped", () => (seen.stopped += 1));
  t.after(() => client.stop());
  await client.start();
  await until(() => seen.connected.length === 1, "the connected event");
  return { client, seen };
}

/** A TCP proxy in front of the server. `cut` resets, `end` ends in order, `loseClient` leaves the server half open. */
export async function proxy(t) {
  const { hostname, port } = new URL(endpoint);
  const pairs = new Set();
  const listener = net.createServer((client) => {
    const upstream = net.connect(Number(port), hostname);
    const pair = { client, upstream };
    pairs.add(pair);
    for (const side of [client, upstream]) side.on("error", () => {}).on("close", () => pairs.delete(pair));
    client.pipe(upstream);
    upstream.pipe(client);
  });
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const half = new Set();
  t.after(() => {
    for (const socket of half) socket.destroy();
    for (const { client, upstream } of pairs) {
      client.destroy();
      upstream.destroy();
    }
    listener.close();
  });
  const each = (step) => {
    const broken = [...pairs];
    pairs.clear();
    for (const pair of broken) step(pair);
    return broken.length;
  };
  return {
    port: listener.address().port,
    connections: () => pairs.size,
    cut: () =>
      each(({ client, upstream }) => {
        client.resetAndDestroy();
        upstream.resetAndDestroy();
      }),
    end: () =>
      each(({ client, upstream }) => {
        client.destroy();
        upstream.destroy();
      }),
    loseClient: () =>
      each(({ client, upstream }) => {
        client.unpipe(upstream);
        upstream.unpipe(client);
        half.add(upstream);
        client.destroy();
      }),
  };
}

/** A WebSocket proxy in front of the server, without TLS, that keeps the frames which its clients send. */
export async function tap(t) {
  const sent = [];
  const listener = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: ([first]) => first });
  listener.on("connection", (client, request) => {
    const headers = { Host: request.headers.host };
    const upstream = new WebSocket(endpoint.replace("http", "ws") + request.url, client.protocol, { headers });
    const waiting = [];
    client.on("message", (payload) => {
      sent.push(JSON.parse(payload));
      if (upstream.readyState === WebSocket.OPEN) upstream.send(payload.toString());
      else waiting.push(payload.toString());
    });
    upstream.on("open", () => waiting.splice(0).forEach((payload) => upstream.send(payload)));
    upstream.on("message", (payload) => client.send(payload.toString()));
    client.on("close", () => upstream.terminate());
    upstream.on("close", () => client.terminate());
  });
  await new Promise((resolve) => listener.on("listening", resolve));
  t.after(() => {
    for (const client of listener.clients) client.terminate();
    listener.close();
  });
  return { port: listener.address().port, sent };
}
