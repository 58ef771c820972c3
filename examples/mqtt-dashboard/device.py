"""A device, with paho-mqtt: says how warm it is in a greenhouse, and heats when it is told to."""

import json
import os
import time
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PERIOD_S = 0.5

heats = False


def properties(packet_type: int, content_type: str) -> Any:
    """What a payload is, so that clients of other protocols need not take it for bytes."""
    said: Any = Properties(packet_type)
    said.ContentType = content_type
    return said


def begin(client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
    """The server has answered. The library connects again by itself, and then this comes again."""
    print(f"connect: {code}", flush=True)
    if not code.is_failure:
        client.subscribe("greenhouse/heater", qos=1)


def switch(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
    """Somebody wants the heater on or off."""
    global heats
    heats = message.payload == b"on"
    print(f"heater {message.payload.decode()}", flush=True)


url = urlsplit(os.environ["MQTT_URL"])
device = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "greenhouse", protocol=mqtt.MQTTv5, transport="websockets")
device.ws_set_options(path=f"{url.path}?{url.query}")
if url.scheme == "wss":
    device.tls_set()
device.will_set("greenhouse/device", "offline", qos=1, properties=properties(PacketTypes.WILLMESSAGE, "text/plain"))
device.on_connect = begin
device.on_message = switch
device.connect(str(url.hostname), url.port or 443, keepalive=10)
device.loop_start()

celsius = 19.0
is_json = properties(PacketTypes.PUBLISH, "application/json")
while True:
    reading = {"celsius": round(celsius, 1), "heats": heats}
    device.publish("greenhouse/reading", json.dumps(reading), qos=1, properties=is_json)
    time.sleep(PERIOD_S)
    celsius += 0.5 if heats else -0.2
