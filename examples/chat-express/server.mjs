// Answers the events of the hub "chat" with Microsoft's package for Express, unmodified.
import express from "express";
import { WebPubSubEventHandler } from "@azure/web-pubsub-express";

const handler = new WebPubSubEventHandler("chat", {
  path: "/eventhandler",

  // May this client connect, and as whom?
  handleConnect(request, response) {
    const userId = request.context.userId ?? request.queries.name?.[0];
    if (!userId) return response.fail(401, "Who are you?");
    response.setState("count", 0);
    response.success({ userId, groups: ["everybody"] });
  },

  // A message of a client. Answer it with the same, and remember how many there were.
  handleUserEvent(request, response) {
    const count = request.context.states.count + 1;
    console.log(`message ${count} of ${request.context.userId}`);
    response.setState("count", count);
    const isJson = request.dataType === "json";
    response.success(isJson ? JSON.stringify(request.data) : request.data, request.dataType);
  },

  onConnected: ({ context }) => console.log(`${context.userId} is connected`),
  onDisconnected: ({ context }) => console.log(`${context.userId} is disconnected`),
});

const app = express();
app.use(handler.getMiddleware());
const server = app.listen(process.env.PORT ?? 3000, "localhost", (error) => {
  if (error) throw error;
  console.log(`listening at http://localhost:${server.address().port}/eventhandler`);
});
