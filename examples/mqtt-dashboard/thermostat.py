"""A thermostat, with the official client of Web PubSub: speaks JSON, and does not know that others speak MQTT."""

import os
import queue

from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.models import CallbackType, OnGroupDataMessageArgs, WebPubSubDataType

target = 20.0
messages: queue.SimpleQueue[OnGroupDataMessageArgs] = queue.SimpleQueue()

client = WebPubSubClient(os.environ["JSON_URL"], ack_timeout=1, start_timeout=5)
with client:
    client.subscribe(CallbackType.GROUP_MESSAGE, messages.put)
    for group in ("greenhouse/reading", "greenhouse/target"):
        client.join_group(group)
    print("listening", flush=True)
    while True:
        message = messages.get()
        if message.group == "greenhouse/target":
            target = float(message.data)
            print(f"wanted: {target:g} °C", flush=True)
            continue
        celsius, heats = message.data["celsius"], message.data["heats"]
        too_cold, too_warm = celsius < target - 0.4, celsius > target + 0.4
        if (too_cold and not heats) or (too_warm and heats):
            word = "on" if too_cold else "off"
            client.send_to_group("greenhouse/heater", word, WebPubSubDataType.TEXT)
            print(f"{celsius:g} °C: heater {word}", flush=True)
