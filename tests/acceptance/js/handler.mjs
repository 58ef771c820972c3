// An event handler of the official package with all that it offers. It says on its standard output, a JSON value a line,
// what it is told. Not a test by itself: tests in Python run it. Its arguments are the hub, and the endpoints from which
// it takes events, if not from all.
import express from "express";
import { WebPubSubEventHandler } from "@azure/web-pubsub-express";

const [hub, ...endpoints] = process.argv.slice(2);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const handler = new WebPubSubEventHandler(hub, {
  ...(endpoints.length ? { allowedEndpoints: endpoints } : {}),
  handleConnect(request, response) {
    const { context, claims, queries, subprotocols, clientCertificates, headers } = request;
    say({ connect: { context, claims, queries, subprotocols, clientCertificates, host: headers.Host } });
    const [wanted] = queries.answer ?? [];
    if (wanted === "nothing") return response.success();
    if (wanted) return response.fail(Number(wanted), "not for clients");
    response.setState("opened", { by: context.userId ?? null });
    response.setState("text", "grüße");
    response.success({ userId: "named", groups: ["g"], roles: ["webpubsub.joinLeaveGroup"], subprotocol: subprotocols[0] });
  },
  handleUserEvent(request, response) {
    const { context, data, dataType } = request;
    const shown = dataType === "binary" ? [...new Uint8Array(data)] : data;
    say({ userEvent: { context, data: shown, dataType } });
    if (context.eventName === "fail") return response.fail(500, "not for clients");
    response.setState("last", context.eventName);
    if (context.eventName === "quiet") return response.success();
    response.success(dataType === "json" ? JSON.stringify(data) : data, dataType);
  },
  onConnected: ({ context }) => say({ connected: { context } }),
  onDisconnected: ({ context, reason }) => say({ disconnected: { context, reason } }),
  onGroupJoined: ({ context, group }) => say({ joined: { context, group } }),
  onGroupLeft: ({ context, group }) => say({ left: { context, group } }),
});

const app = express();
app.use(handler.getMiddleware());
const server = app.listen(Number(process.env.PORT), "127.0.0.1", () =>
  console.log(`listening at http://127.0.0.1:${server.address().port}${handler.path}`),
);
