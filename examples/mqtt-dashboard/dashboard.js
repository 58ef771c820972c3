// The page: shows what the device says, and tells the thermostat how warm it should be.
import mqtt from "mqtt";

const show = (id, text) => (document.getElementById(id).textContent = text);

// What is behind the "#" of the page's address. A page of yours would ask your server for it.
const client = mqtt.connect(location.hash.slice(1), { protocolVersion: 5 });

client.on("connect", () => {
  show("connection", "connected");
  client.subscribe(["greenhouse/reading", "greenhouse/device"], { qos: 1 });
});
client.on("close", () => show("connection", "not connected"));
client.on("error", (error) => show("connection", error.message));

client.on("message", (topic, payload) => {
  if (topic === "greenhouse/device") return show("device", payload.toString());
  const { celsius, heats } = JSON.parse(payload);
  show("device", heats ? "heats" : "does not heat");
  show("temperature", `${celsius} °C`);
});

document.getElementById("target").addEventListener("change", (event) => {
  client.publish("greenhouse/target", event.target.value, { qos: 1, properties: { contentType: "text/plain" } });
});
