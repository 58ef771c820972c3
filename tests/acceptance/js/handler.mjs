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
    const { context, claims, queries, subprotocols, clientCertificates, headers, mqtt } = request;
    say({ connect: { context, claims, queries, subprotocols, clientCertificates, host: headers.Host, mqtt } });
    const [wanted] = queries.answer ?? [];
    const [code] = queries.code ?? [];
    const userProperties = [{ name: "a", value: "1" }, { name: "a", value: "2" }];
    if (code) return response.failWith({ mqtt: { code: Number(code), reason: `because ${code}`, userProperties } });
    if (wanted === "nothing") return response.success();
    if (wanted) return response.fail(Number(wanted), "not for clients");
    response.setState("opened", { by: context.userId ?? null });
    response.setState("text", "grüße");
    const more = context.clientProtocol === "mqtt" ? { mqtt: { userProperties } } : {};
    const roles = ["webpubsub.joinLeaveGroup"];
    response.success({ userId: "named", groups: ["g"], roles, subprotocol: subprotocols[0], ...more });
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
  onDisconnected: ({ context, reason, mqtt }) => say({ disconnected: { context, reason, mqtt } }),
  onGroupJoined: ({ context, group }) => say({ joined: { context, group } }),
  onGroupLeft: ({ context, group }) => say({ left: { context, group } }),
});

const app = express();
app.use(handler.getMiddleware());
const server = app.listen(Number(process.env.PORT), "127.0.0.1", () =>
  console.log(`listening at http://127.0.0.1:${server.address().port}${handler.path}`),
);
