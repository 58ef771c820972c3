"""
How clients go, where their protocol has words for that. Not compiled, since structs may not be.
"""

from collections.abc import Mapping

from msgspec import Struct

from hubwire.model.messages import NO_METADATA, Data, Publication

__all__ = ["Ending", "WillMessage"]


class WillMessage(Struct, frozen=True):
    """
    What is to be published if a client goes without a goodbye.

    Attributes:
        topic: name of a group.
        delay_s: how long to wait for the client first; no longer than its session does.
        ttl_s: as in `SendToGroup`, once it is published.
    """

    topic: str
    data: Data
    metadata: Mapping[str, str] = NO_METADATA
    publication: Publication = Publication()
    delay_s: int = 0
    ttl_s: int = 0


class Ending(Struct, frozen=True):
    """
    The last message to or from a client's latest socket, which has ended it: a DISCONNECT packet of MQTT.

    Attributes:
        code: 0 for MQTT 3.1.1, whose packet has none.
        reason: reason string; None for none.
    """

    initiated_by_client: bool
    code: int
    reason: str | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
