// An event handler of the official package that invocations are tried with. Not a test by itself: its argument is the hub.
//
//   echo      what it is told
//   quiet     nothing
//   null      the JSON null
//   fail      a failure
//   wait.X    `of X`, once somebody has said X to `release`
//   waiting   the names of those that wait; `abandoned` of those that do so no more, since nobody waits for them
import express from "express";
import { WebPubSubEventHandler } from "@azure/web-pubsub-express";

const [hub] = process.argv.slice(2);
const waiting = new Map();
const abandoned = [];
const json = (response, value) => response.success(JSON.stringify(value), "json");

const handler = new WebPubSubEventHandler(hub, {
  handleUserEvent({ context: { eventName }, data, dataType }, response) {
    const [kind, name] = eventName.split(".");
    switch (kind) {
      case "echo":
        return response.success(dataType === "json" ? JSON.stringify(data) : data, dataType);
      case "quiet":
        return response.success();
      case "null":
        return json(response, null);
      case "wait":
        return waiting.set(name, () => response.success(`of ${name}`, "text"));
      case "release":
        waiting.get(data)?.();
        waiting.delete(data);
        return response.success();
      case "waiting":
        return json(response, [...waiting.keys()]);
      case "abandoned":
        return json(response, abandoned);
      default:
        return response.fail(400, "not for clients");
    }
  },
});

const app = express();
app.use((request, response, next) => {
  response.on("close", () => {
    if (response.writableFinished) return;
    const name = request.headers["ce-eventname"].split(".")[1];
    waiting.delete(name);
    abandoned.push(name);
  });
  next();
});
app.use(handler.getMiddleware());
const server = app.listen(Number(process.env.PORT), "127.0.0.1", () =>
  console.log(`listening at http://127.0.0.1:${server.address().port}${handler.path}`),
);
