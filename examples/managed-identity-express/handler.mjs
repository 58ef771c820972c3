// An event handler that takes events from one managed identity and from nobody else, with Express and jose.
// It knows the URL of a discovery document and its own audience. Everything else it reads from there.
import express from "express";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const { DISCOVERY_URL, AUDIENCE, OBJECT_ID } = process.env;
if (!DISCOVERY_URL || !AUDIENCE) throw new Error("DISCOVERY_URL and AUDIENCE say whose tokens are taken, and for whom");

let found;

/** Whose tokens we take, and its keys. These are read again once a token names another one. */
async function issuer() {
  if (!found) {
    const response = await fetch(DISCOVERY_URL);
    if (!response.ok) throw new Error(`the discovery document: ${response.status}`);
    const document = await response.json();
    found = { issuer: document.issuer, keys: createRemoteJWKSet(new URL(document.jwks_uri)) };
  }
  return found;
}

/** Takes events whose token is by our issuer, for us, and of the right identity. */
async function authenticate(request, response, next) {
  const [scheme, token] = (request.get("Authorization") ?? "").split(" ");
  if (scheme.toLowerCase() !== "bearer") return refuse(response, "no bearer token");
  try {
    const { issuer: name, keys } = await issuer();
    const options = { issuer: name, audience: AUDIENCE, algorithms: ["RS256"], requiredClaims: ["exp", "oid"] };
    const { payload } = await jwtVerify(token ?? "", keys, options);
    if (OBJECT_ID && payload.oid !== OBJECT_ID) return refuse(response, `${payload.oid} is another identity`);
    response.locals.caller = payload.oid;
  } catch (error) {
    if (error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout)) return refuse(response, error.message);
    console.log(`the issuer cannot be asked: ${error.message}`);
    return response.status(503).end(); // the event comes again in a moment
  }
  next();
}

/** The reason is for our log. Who sends tokens that are none learns nothing. */
function refuse(response, reason) {
  console.log(`refused: ${reason}`);
  response.status(401).set("WWW-Authenticate", "Bearer").end();
}

const app = express();

// May events be sent to this URL? This question never brings a token.
app.options("/events", (request, response) => response.set("WebHook-Allowed-Origin", "*").end());

app.post("/events", authenticate, (request, response) => {
  console.log(`${request.get("ce-type")} from ${response.locals.caller}`);
  response.status(204).end();
});

const server = app.listen(process.env.PORT ?? 3000, "localhost", (error) => {
  if (error) throw error;
  console.log(`listening at http://localhost:${server.address().port}/events`);
});
