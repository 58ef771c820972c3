"""What is taken of MQTT clients."""

from typing import Any

import pytest
from msgspec.structs import replace

from hubwire.gateway.arrivals import MqttOptions
from hubwire.mqtt_clients import mqtt_options
from hubwire.protocols.catalog import QueueLimits
from hubwire.protocols.mqtt.arrival import Policy
from hubwire.settings import load

LENIENT = Policy(
    client_ids="lenient",
    keep_alive="any",
    retain="keep",
    topic_alias_maximum=16,
    wildcards=True,
    shared_subscriptions=True,
    reserved_topics="drop",
    session_expiry_s=604_800,
)
AZURE = Policy(client_ids="azure", keep_alive="limited", retain="refuse", topic_alias_maximum=0)


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ({}, LENIENT),
        ({"mqtt_compatibility": "lenient"}, LENIENT),
        ({"mqtt_compatibility": "azure"}, AZURE),
        ({"mqtt_client_ids": "azure"}, replace(LENIENT, client_ids="azure")),
        ({"mqtt_keep_alive": "limited"}, replace(LENIENT, keep_alive="limited")),
        ({"mqtt_retain": "refuse"}, replace(LENIENT, retain="refuse")),
        ({"mqtt_retain": "ignore"}, replace(LENIENT, retain="ignore")),
        ({"mqtt_topic_alias_maximum": 0}, replace(LENIENT, topic_alias_maximum=0)),
        ({"mqtt_reserved_topics": "refuse"}, replace(LENIENT, reserved_topics="refuse")),
        ({"mqtt_compatibility": "azure", "mqtt_reserved_topics": "drop"}, replace(AZURE, reserved_topics="drop")),
        ({"mqtt_wildcards": False}, replace(LENIENT, wildcards=False)),
        ({"mqtt_compatibility": "azure", "mqtt_wildcards": True}, replace(AZURE, wildcards=True)),
        ({"mqtt_shared_subscriptions": False}, replace(LENIENT, shared_subscriptions=False)),
        (
            {"mqtt_compatibility": "azure", "mqtt_shared_subscriptions": True},
            replace(AZURE, shared_subscriptions=True),
        ),
        ({"mqtt_compatibility": "azure", "mqtt_client_ids": "lenient"}, replace(AZURE, client_ids="lenient")),
        ({"mqtt_compatibility": "azure", "mqtt_keep_alive": "any"}, replace(AZURE, keep_alive="any")),
        ({"mqtt_compatibility": "azure", "mqtt_retain": "keep"}, replace(AZURE, retain="keep")),
        ({"mqtt_compatibility": "azure", "mqtt_retain": "ignore"}, replace(AZURE, retain="ignore")),
        ({"mqtt_compatibility": "azure", "mqtt_topic_alias_maximum": 255}, replace(AZURE, topic_alias_maximum=255)),
        (
            {
                "mqtt_compatibility": "azure",
                "mqtt_client_ids": "lenient",
                "mqtt_keep_alive": "any",
                "mqtt_retain": "keep",
                "mqtt_topic_alias_maximum": 16,
                "mqtt_session_expiry_s": 604_800,
                "mqtt_wildcards": True,
                "mqtt_reserved_topics": "drop",
                "mqtt_shared_subscriptions": True,
            },
            LENIENT,
        ),
    ],
)
def test_single_setting_goes_before_the_preset(given: dict[str, Any], policy: Policy) -> None:
    """And those that are not given are what the preset says."""
    assert mqtt_options(load(given, {})).policy == policy


@pytest.mark.parametrize("compatibility", ["lenient", "azure"])
def test_who_may_take_a_session_over_is_no_matter_of_the_preset(compatibility: str) -> None:
    """It decides about security, so it is switched by its own name alone."""
    assert mqtt_options(load({"mqtt_compatibility": compatibility}, {})).takeover == "same-user"


def test_what_has_no_preset_is_what_its_setting_says() -> None:
    given = {
        "mqtt_session_takeover": "azure",
        "mqtt_v4_text": True,
        "mqtt_session_expiry_s": 7,
        "mqtt_receive_maximum": 8,
        "max_message_bytes": 9000,
    }

    policy = replace(LENIENT, session_expiry_s=7, receive_maximum=8, max_packet_bytes=9000, v4_text=True)
    assert mqtt_options(load(given, {})) == MqttOptions(policy, "azure", True, QueueLimits(10_000, 16 << 20))


@pytest.mark.parametrize(
    ("given", "durable", "expiry_s"),
    [
        ({}, True, 604_800),
        ({"mqtt_compatibility": "azure"}, False, 30),
        ({"mqtt_durable_sessions": False}, False, 30),
        ({"mqtt_durable_sessions": False, "mqtt_session_expiry_s": 7}, False, 7),
        ({"mqtt_compatibility": "azure", "mqtt_durable_sessions": True}, True, 604_800),
        ({"mqtt_session_expiry_s": 4294967295}, True, 4294967295),
    ],
)
def test_sessions_that_outlive_the_process_last_for_longer(given: dict[str, Any], durable: bool, expiry_s: int) -> None:
    options = mqtt_options(load(given, {}))

    assert (options.durable, options.policy.session_expiry_s) == (durable, expiry_s)


def test_sessions_that_outlive_the_process_have_limits_of_their_own() -> None:
    given = {"mqtt_durable_queue_messages": 5, "mqtt_durable_queue_bytes": 6000}

    assert mqtt_options(load(given, {})).durable_limits == QueueLimits(5, 6000)
