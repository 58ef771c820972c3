"""The properties of MQTT 5.0. Source: OASIS MQTT 5.0, 2.2.2."""

from hubwire.protocols.mqtt.values import NO_PROPERTIES, Properties

__all__ = ["NO_PROPERTIES", "Properties"]
