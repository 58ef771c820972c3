"""
Every parser that a byte from a socket reaches, and what must hold of it whatever the bytes are, room by room. What the
rooms make of them together is tried on a real server: see `conversations`.
"""

from collections.abc import Mapping
from typing import Final

from fuzz import edge, identities, issuing, model, mqtt, outside, proofs, protobuf, protocols, rest, templates, tunnels
from fuzz.target import Target

__all__ = ["TARGETS"]

TARGETS: Final[Mapping[str, Target]] = {
    **edge.TARGETS,
    **protocols.TARGETS,
    **protobuf.TARGETS,
    **proofs.TARGETS,
    **issuing.TARGETS,
    **identities.TARGETS,
    **rest.TARGETS,
    **model.TARGETS,
    **outside.TARGETS,
    **templates.TARGETS,
    **tunnels.TARGETS,
    **mqtt.TARGETS,
}
"""By name."""
