// An event handler without any SDK, with Express.
import { createHmac, timingSafeEqual } from "node:crypto";
import express from "express";

const key = process.env.ACCESS_KEY;
if (!key) throw new Error("ACCESS_KEY is an access key of the server, with which it signs its events");

const app = express();

// May events be sent to this URL? Asked before the first one, and again from time to time.
app.options("/events", (request, response) => response.set("WebHook-Allowed-Origin", "*").end());

// Bodies as they are: text, JSON or bytes.
app.post("/events", express.raw({ type: () => true, limit: "2mb" }), (request, response) => {
  if (!isSigned(request)) return response.status(401).end();
  const type = request.get("ce-type");
  if (type === "azure.webpubsub.sys.connect") return connect(request, response);
  if (type.startsWith("azure.webpubsub.user.")) return userEvent(request, response);
  // `connected` and `disconnected` are told, not asked.
  console.log(`${userOf(request)} is ${request.get("ce-eventName")}`);
  response.status(204).end();
});

/** Is it from a server with our key? There is a signature for each of its two keys. */
function isSigned(request) {
  const digest = createHmac("sha256", key).update(request.get("ce-connectionId") ?? "").digest("hex");
  const wanted = Buffer.from(`sha256=${digest}`);
  return (request.get("ce-signature") ?? "")
    .split(",")
    .map((signature) => Buffer.from(signature.trim()))
    .some((signature) => signature.length === wanted.length && timingSafeEqual(signature, wanted));
}

/** The user of a connection, which comes in UTF-8; undefined where it has none. */
function userOf(request) {
  const userId = request.get("ce-userId");
  return userId && Buffer.from(userId, "latin1").toString();
}

/** A client wants in. 401 or 403 refuses it; it is accepted by 204, or by JSON that says more. */
function connect(request, response) {
  const { query } = JSON.parse(request.body);
  const userId = userOf(request) ?? query.name?.[0];
  if (!userId) return response.status(401).end();
  response.set("ce-connectionState", "0").json({ userId, groups: ["everybody"] });
}

/** A message of a client, who waits for the answer: here the same. The state is the number of messages so far. */
function userEvent(request, response) {
  const count = Number(request.get("ce-connectionState")) + 1;
  console.log(`message ${count} of ${userOf(request)}`);
  response.set({ "ce-connectionState": String(count), "Content-Type": request.get("Content-Type") });
  response.send(request.body ?? Buffer.alloc(0));
}

const server = app.listen(process.env.PORT ?? 3000, "localhost", (error) => {
  if (error) throw error;
  console.log(`listening at http://localhost:${server.address().port}/events`);
});
