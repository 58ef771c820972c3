"""What is taken of MQTT clients."""

import pytest

from hubwire.mqtt_clients import MqttRules, mqtt_rules
from hubwire.settings import load

LENIENT = MqttRules(client_ids="lenient", keep_alive="any", retain="ignore")
AZURE = MqttRules(client_ids="azure", keep_alive="limited", retain="refuse")


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ({}, LENIENT),
        ({"mqtt_compatibility": "lenient"}, LENIENT),
        ({"mqtt_compatibility": "azure"}, AZURE),
        ({"mqtt_client_ids": "azure"}, MqttRules("azure", "any", "ignore")),
        ({"mqtt_keep_alive": "limited"}, MqttRules("lenient", "limited", "ignore")),
        ({"mqtt_retain": "refuse"}, MqttRules("lenient", "any", "refuse")),
        ({"mqtt_compatibility": "azure", "mqtt_client_ids": "lenient"}, MqttRules("lenient", "limited", "refuse")),
        ({"mqtt_compatibility": "azure", "mqtt_keep_alive": "any"}, MqttRules("azure", "any", "refuse")),
        ({"mqtt_compatibility": "azure", "mqtt_retain": "ignore"}, MqttRules("azure", "limited", "ignore")),
        (
            {
                "mqtt_compatibility": "azure",
                "mqtt_client_ids": "lenient",
                "mqtt_keep_alive": "any",
                "mqtt_retain": "ignore",
            },
            LENIENT,
        ),
    ],
)
def test_single_setting_goes_before_the_preset(given: dict[str, str], rules: MqttRules) -> None:
    """And those that are not given are what the preset says."""
    assert mqtt_rules(load(given, {})) == rules


@pytest.mark.parametrize("compatibility", ["lenient", "azure"])
def test_who_may_take_a_session_over_is_no_matter_of_the_preset(compatibility: str) -> None:
    """It decides about security, so it is switched by its own name alone."""
    assert load({"mqtt_compatibility": compatibility}, {}).mqtt_session_takeover == "same-user"
