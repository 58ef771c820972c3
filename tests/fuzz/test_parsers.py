"""Every parser that a socket reaches holds what it promises, whatever the bytes are."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS

_EXAMPLES = 100


@pytest.mark.parametrize("name", TARGETS)
def test_parser_promises_hold_for_damaged_input(name: str) -> None:
    """The same inputs each time; `make fuzz` looks for new ones."""
    target = TARGETS[name]

    @settings(
        max_examples=_EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.tuples(*target.inputs))
    def check(inputs: tuple[object, ...]) -> None:
        target.check(*inputs)

    check()
