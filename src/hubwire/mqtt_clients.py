"""
What is taken of MQTT clients: a preset of the settings, and single ones that go before it.

Lenient takes what common client libraries do out of the box, such as ids with an underscore or no keep alive. Azure
refuses what the service's MQTT pages say that it refuses, for who wants to find that out before the service tells.
"""

from typing import Final, Literal

from msgspec import Struct

from hubwire.settings import Settings

__all__ = ["MqttRules", "mqtt_rules"]


class MqttRules(Struct, frozen=True):
    """
    The settings of one preset.

    Attributes:
        client_ids: "azure" are letters, digits and underscores; "lenient" all characters that stand in a path.
        keep_alive: of MQTT 3.1.1; "limited" is 1 to 180 seconds, and anything else is refused.
        retain: of MQTT 5.0; "ignore" delivers and forgets what was to be retained, "refuse" ends the connection.
    """

    client_ids: Literal["lenient", "azure"]
    keep_alive: Literal["any", "limited"]
    retain: Literal["ignore", "refuse"]


_PRESETS: Final = {
    "lenient": MqttRules(client_ids="lenient", keep_alive="any", retain="ignore"),
    "azure": MqttRules(client_ids="azure", keep_alive="limited", retain="refuse"),
}


def mqtt_rules(settings: Settings) -> MqttRules:
    """What holds: of each setting what it is given, or else what `mqtt_compatibility` says."""
    preset = _PRESETS[settings.mqtt_compatibility]
    return MqttRules(
        client_ids=settings.mqtt_client_ids or preset.client_ids,
        keep_alive=settings.mqtt_keep_alive or preset.keep_alive,
        retain=settings.mqtt_retain or preset.retain,
    )
