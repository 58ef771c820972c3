"""Functions of the template language that make or look at strings: text, encodings, hashes, dates."""

import base64
import binascii
import hashlib
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, unquote, unquote_to_bytes, urljoin

from hubwire.resources.expressions import Function, Scope, plain
from hubwire.resources.lenient_json import Unreadable
from hubwire.resources.lenient_json import parse as read_json
from hubwire.resources.template_format import date_text, formatted, moved, read_date
from hubwire.resources.template_values import Unfit, array, integer, shown, text, utf8

__all__ = ["TEXT"]

_NAMESPACE: Final = uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")
"""Of the UUIDs that `guid` makes; the one of Azure Resource Manager, so that names stay when a template moves here."""
_BASE_32: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "=")
_COMPACT: Final = "yyyyMMddTHHmmssZ"
_ISO: Final = "yyyy-MM-ddTHH:mm:ssZ"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNRESERVED: Final = "-_.!~*'()"
"""Besides letters and digits; what `uriComponent` leaves alone."""


def _format(scope: Scope, pattern: Any, *values: Any) -> str:
    return formatted(text(pattern), values, scope.budget.spend)


def _replace(scope: Scope, original: Any, old: Any, new: Any) -> str:
    if not text(old):
        raise Unfit("the text to be replaced is empty.")
    scope.budget.spend(text(original).count(old) * len(text(new)))
    return text(original).replace(old, new)


def _split(scope: Scope, original: Any, delimiters: Any) -> list[Any]:
    marks = [delimiters] if isinstance(delimiters, str) else [text(mark) for mark in array(delimiters)]
    parts = [text(original)]
    for mark in filter(None, marks):
        scope.budget.spend(len(original) + 16 * sum(part.count(mark) for part in parts))
        parts = [piece for part in parts for piece in part.split(mark)]
    return parts


def _join(scope: Scope, parts: Any, delimiter: Any) -> str:
    shown_parts = [shown(part) for part in array(parts)]
    scope.budget.spend(len(shown_parts) * len(text(delimiter)))
    return str(delimiter).join(shown_parts)


def _pad_left(scope: Scope, original: Any, width: Any, filling: Any = " ") -> str:
    if len(text(filling)) != 1:
        raise Unfit("the padding must be one character.")
    if integer(width) < 0:
        raise Unfit("the length must not be negative.")
    scope.budget.spend(width)
    value = shown(original) if isinstance(original, int) else text(original)
    return value.rjust(width, filling)


def _substring(original: Any, start: Any, length: Any = None) -> str:
    value, begin = text(original), integer(start)
    count = len(value) - begin if length is None else integer(length)
    if begin < 0 or count < 0 or begin + count > len(value):
        raise Unfit("the start and the length must lie within the string.")
    return value[begin : begin + count]


def _starts_with(original: Any, wanted: Any) -> bool:
    return text(original).lower().startswith(text(wanted).lower())


def _ends_with(original: Any, wanted: Any) -> bool:
    return text(original).lower().endswith(text(wanted).lower())


def _guid(*values: Any) -> str:
    return str(uuid.uuid5(_NAMESPACE, utf8("-".join(map(text, values))).decode()))


def _unique_string(*values: Any) -> str:
    """Thirteen characters that stay the same for the same values. The algorithm of Azure is not published."""
    digest = hashlib.sha256(utf8("-".join(map(text, values)))).digest()
    return base64.b32encode(digest[:10]).decode("ascii").translate(_BASE_32)[:13]


def _json(scope: Scope, written: Any) -> Any:
    scope.budget.spend(16 * len(text(written)))
    try:
        return read_json(written).value
    except Unreadable as unreadable:
        raise Unfit(f"the text is not JSON. {unreadable}") from None


def _base64(original: Any) -> str:
    return base64.b64encode(utf8(text(original))).decode("ascii")


def _from_base64(encoded: Any) -> str:
    try:
        return base64.b64decode(utf8(text(encoded)), validate=True).decode("utf-8", "replace")
    except binascii.Error:
        raise Unfit("the text is not base64.") from None


def _base64_to_json(scope: Scope, encoded: Any) -> Any:
    return _json(scope, _from_base64(encoded))


def _data_uri(original: Any) -> str:
    return f"data:text/plain;charset=utf8;base64,{_base64(shown(original))}"


def _from_data_uri(uri: Any) -> str:
    head, comma, data = text(uri).partition(",")
    if not head.lower().startswith("data:") or not comma:
        raise Unfit("the text is not a data URI.")
    if head.lower().endswith(";base64"):
        return _from_base64(unquote(data))
    return unquote_to_bytes(utf8(data)).decode("utf-8", "replace")


def _uri(base: Any, relative: Any) -> str:
    try:
        return urljoin(text(base), text(relative))
    except ValueError:
        raise Unfit("the text is not a URI.") from None


def _uri_component(original: Any) -> str:
    return quote(utf8(text(original)), safe=_UNRESERVED)


def _utc_now(scope: Scope, form: Any = _COMPACT) -> str:
    _only_default(scope)
    return date_text(read_date(scope.environment.now), text(form))


def _new_guid(scope: Scope) -> str:
    _only_default(scope)
    return scope.environment.new_guid()


def _only_default(scope: Scope) -> None:
    if not scope.is_default:
        raise Unfit("it is expected only in the default value of a parameter.")


def _date_time_add(base: Any, duration: Any, form: Any = None) -> str:
    when = moved(read_date(text(base)), text(duration))
    if form is None:
        return date_text(when, _ISO if "-" in base else _COMPACT)
    return date_text(when, text(form))


def _to_epoch(written: Any) -> int:
    return int((read_date(text(written)) - _EPOCH).total_seconds())


def _from_epoch(seconds: Any) -> str:
    try:
        return date_text(_EPOCH + timedelta(seconds=integer(seconds)), _ISO)
    except OverflowError:
        raise Unfit("the date lies outside of the calendar.") from None


TEXT: Final[Mapping[str, Function]] = {
    "base64": plain(_base64, 1, 1),
    "base64tojson": Function(_base64_to_json, 1, 1),
    "base64tostring": plain(_from_base64, 1, 1),
    "datauri": plain(_data_uri, 1, 1),
    "datauritostring": plain(_from_data_uri, 1, 1),
    "datetimeadd": plain(_date_time_add, 2, 3),
    "datetimefromepoch": plain(_from_epoch, 1, 1),
    "datetimetoepoch": plain(_to_epoch, 1, 1),
    "endswith": plain(_ends_with, 2, 2),
    "format": Function(_format, 1, None),
    "guid": plain(_guid, 1, None),
    "join": Function(_join, 2, 2),
    "json": Function(_json, 1, 1),
    "newguid": Function(_new_guid, 0, 0),
    "padleft": Function(_pad_left, 2, 3),
    "replace": Function(_replace, 3, 3),
    "split": Function(_split, 2, 2),
    "startswith": plain(_starts_with, 2, 2),
    "string": plain(shown, 1, 1),
    "substring": plain(_substring, 2, 3),
    "tolower": plain(lambda value: text(value).lower(), 1, 1),
    "toupper": plain(lambda value: text(value).upper(), 1, 1),
    "trim": plain(lambda value: text(value).strip(), 1, 1),
    "uniquestring": plain(_unique_string, 1, None),
    "uri": plain(_uri, 2, 2),
    "uricomponent": plain(_uri_component, 1, 1),
    "uricomponenttostring": plain(lambda value: unquote(text(value)), 1, 1),
    "utcnow": Function(_utc_now, 0, 1),
}
