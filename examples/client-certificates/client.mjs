// Connects without a token, with a certificate or without one: node client.mjs URL [CERTIFICATE KEY]
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import https from "node:https";

const [url, certificate, key] = process.argv.slice(2);
const shown = certificate ? { cert: readFileSync(certificate), key: readFileSync(key) } : {};
const headers = {
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
};

https
  .get(url, { ...shown, headers })
  .on("upgrade", (response, socket) => {
    console.log("connected");
    socket.destroy();
  })
  .on("response", (response) => {
    console.log(`refused: ${response.statusCode}`);
    response.resume();
  });
