"""What the settings of communication services mean."""

import pytest

from hubwire.communication.quotas import AZURE
from hubwire.communication_users import limits_of
from hubwire.settings import BadSetting, Settings


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ((), {}),
        (("azure",), AZURE),
        (("Azure", "create=5"), {**AZURE, "create": 5}),
        (("create=5", "azure"), AZURE),
        (("createwithtoken=7", "EXCHANGE=1"), {"createWithToken": 7, "exchange": 1}),
    ],
)
def test_what_stands_last_counts(given: tuple[str, ...], limits: dict[str, int]) -> None:
    assert limits_of(Settings(communication_limits=given)) == limits


@pytest.mark.parametrize("given", ["", "azur", "create", "create=", "create=0", "create=-1", "create=1.5", "list=1"])
def test_limit_that_is_none_is_named(given: str) -> None:
    with pytest.raises(BadSetting, match=r"^communication_limits: .*createWithToken"):
        limits_of(Settings(communication_limits=(given,)))
