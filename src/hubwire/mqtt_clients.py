"""
What is taken of MQTT clients: a preset of the settings, and single ones that go before it.

Lenient takes what common client libraries do out of the box, such as ids with an underscore or no keep alive. Azure
refuses what the service's MQTT pages say that it refuses, for who wants to find that out before the service tells.
"""

from typing import Final

from msgspec.structs import replace

from hubwire.gateway.arrivals import MqttOptions
from hubwire.protocols.catalog import QueueLimits
from hubwire.protocols.mqtt.arrival import Policy
from hubwire.settings import Settings

__all__ = ["mqtt_options"]

_LASTING_S: Final = 604_800
_SHORT_S: Final = 30
"""What sessions may wait for their clients at most, where they outlive the process and where they do not."""

_PRESETS: Final = {
    "lenient": Policy(
        client_ids="lenient",
        keep_alive="any",
        retain="keep",
        topic_alias_maximum=16,
        wildcards=True,
        shared_subscriptions=True,
        reserved_topics="drop",
    ),
    "azure": Policy(client_ids="azure", keep_alive="limited", retain="refuse"),
}


def mqtt_options(settings: Settings) -> MqttOptions:
    """What holds: single settings where they are given, and else what the preset `mqtt_compatibility` says."""
    preset = _PRESETS[settings.mqtt_compatibility]
    aliases, shared = settings.mqtt_topic_alias_maximum, settings.mqtt_shared_subscriptions
    durable = settings.mqtt_durable_sessions
    if durable is None:
        durable = settings.mqtt_compatibility == "lenient"
    expiry_s = settings.mqtt_session_expiry_s
    if expiry_s is None:
        expiry_s = _LASTING_S if durable else _SHORT_S
    policy = replace(
        preset,
        client_ids=settings.mqtt_client_ids or preset.client_ids,
        keep_alive=settings.mqtt_keep_alive or preset.keep_alive,
        retain=settings.mqtt_retain or preset.retain,
        session_expiry_s=expiry_s,
        receive_maximum=settings.mqtt_receive_maximum,
        max_packet_bytes=settings.max_message_bytes,
        topic_alias_maximum=preset.topic_alias_maximum if aliases is None else aliases,
        wildcards=preset.wildcards if settings.mqtt_wildcards is None else settings.mqtt_wildcards,
        shared_subscriptions=preset.shared_subscriptions if shared is None else shared,
        reserved_topics=settings.mqtt_reserved_topics or preset.reserved_topics,
        v4_text=settings.mqtt_v4_text,
    )
    limits = QueueLimits(settings.mqtt_durable_queue_messages, settings.mqtt_durable_queue_bytes)
    return MqttOptions(policy, settings.mqtt_session_takeover, durable, limits)
