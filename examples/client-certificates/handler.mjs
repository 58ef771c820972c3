// Lets in clients that show one of a few certificates. Does what the function in the service's own documentation does.
import http from "node:http";

const known = (process.env.THUMBPRINTS ?? "").split(",").filter(Boolean);

const server = http.createServer(async (request, response) => {
  response.setHeader("WebHook-Allowed-Origin", "*");
  try {
    let text = "";
    for await (const part of request.setEncoding("utf8")) text += part;
    if (request.headers["ce-type"] === "azure.webpubsub.sys.connect") connect(JSON.parse(text), response);
  } catch (error) {
    console.log(error.message);
    response.statusCode = 500;
  }
  response.end(); // 200 with nothing in it, unless something else was said: the client is let in
});

function connect(body, response) {
  if (body.clientCertificates) {
    const thumbprint = body.clientCertificates[0].thumbprint;
    if (known.includes(thumbprint)) return console.log(`${thumbprint} is let in`);
  }
  console.log("a client is refused");
  response.statusCode = 403;
}

server.listen(process.env.PORT ?? 3000, "localhost", () =>
  console.log(`listening at http://localhost:${server.address().port}/`),
);
