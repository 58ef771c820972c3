"""
Texts made by pattern: composite formats, and dates.

Patterns are those of .NET with the invariant culture, as far as templates use them. Whatever else .NET knows is
refused: a text that is nearly right would go unnoticed.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hubwire.resources.template_values import Unfit, kind_of, shown

__all__ = ["date_text", "formatted", "moved", "read_date"]

_MAX_WIDTH: Final = 1_000_000
_HOLE: Final = re.compile(r"\{([0-9]{1,4}+)(?:,(-?[0-9]{1,7}+))?+(?::([^{}]*+))?+\}")
_INTEGER_FORMAT: Final = re.compile(r"([DdXxFfNnGg])([0-9]{0,2})|(0{1,40})")


def formatted(pattern: str, values: Sequence[Any], spend: Callable[[int], None]) -> str:
    """
    A composite format such as `{0}/{1:D3}`, filled in.

    Args:
        spend: is told how many characters are going to be made, before they are.

    Raises:
        Unfit: the pattern is broken, speaks of a value that is not there, or of a format that we do not know.
    """
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        end = next((place for place in range(at, len(pattern)) if pattern[place] in "{}"), len(pattern))
        parts.append(pattern[at:end])
        at = end
        if at == len(pattern):
            break
        if pattern[at : at + 2] in ("{{", "}}"):
            parts.append(pattern[at])
            at += 2
            continue
        hole = _HOLE.match(pattern, at)
        if hole is None:
            raise Unfit(f"the format is not valid at character {at + 1}.")
        parts.append(_filled(hole, values, spend))
        at = hole.end()
    return "".join(parts)


def _filled(hole: re.Match[str], values: Sequence[Any], spend: Callable[[int], None]) -> str:
    index, width, form = int(hole.group(1)), int(hole.group(2) or 0), hole.group(3)
    if index >= len(values):
        raise Unfit(f"the format speaks of value {index}, but only {len(values)} are given.")
    if abs(width) > _MAX_WIDTH:
        raise Unfit("the format is wider than allowed.")
    value = _one(values[index], form) if form else shown(values[index])
    spend(max(len(value), abs(width)))
    return value.rjust(width) if width >= 0 else value.ljust(-width)


def _one(value: Any, form: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        # Only numbers look at their format; everything else shows itself as always.
        return shown(value)
    found = _INTEGER_FORMAT.fullmatch(form)
    if found is None or (isinstance(value, float) and found.group(1) not in ("F", "f", "N", "n")):
        raise Unfit(f"the format '{form[:50]}' of a value of type '{kind_of(value)}' is not available.")
    letter, digits, zeros = found.group(1), found.group(2), found.group(3)
    if zeros is not None:
        return _digits(int(value), len(zeros))
    return _FORMATS[letter.lower()](value, int(digits) if digits else None, letter)


def _digits(value: int, count: int) -> str:
    return ("-" if value < 0 else "") + str(abs(value)).rjust(count, "0")


def _hexadecimal(value: Any, digits: int | None, letter: str) -> str:
    return format(value % 2**64, letter).rjust(digits or 1, "0")


def _general(value: Any, digits: int | None, letter: str) -> str:
    if digits:
        raise Unfit(f"the format '{letter}{digits}' is not available.")
    return shown(value)


_FORMATS: Final[Mapping[str, Callable[[Any, int | None, str], str]]] = {
    "d": lambda value, digits, _: _digits(value, digits or 1),
    "x": _hexadecimal,
    "f": lambda value, digits, _: f"{value:.{2 if digits is None else digits}f}",
    "n": lambda value, digits, _: f"{value:,.{2 if digits is None else digits}f}",
    "g": _general,
}

_DATE: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?)?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_COMPACT_DATE: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})()(Z)?")
_DURATION: Final = re.compile(
    r"(-)?P(?:([0-9]{1,6})Y)?(?:([0-9]{1,6})M)?(?:([0-9]{1,6})W)?(?:([0-9]{1,8})D)?"
    r"(?:T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})S)?)?"
)
_STANDARD: Final = {
    "d": "MM/dd/yyyy",
    "s": "yyyy-MM-ddTHH:mm:ss",
    "u": "yyyy-MM-dd HH:mm:ssZ",
    "o": "yyyy-MM-ddTHH:mm:ss.fffffffZ",
    "O": "yyyy-MM-ddTHH:mm:ss.fffffffZ",
    "t": "HH:mm",
    "T": "HH:mm:ss",
}
_PIECE: Final = re.compile(r"([yMdHhmsft])\1*+|'([^']*+)'|\"([^\"]*+)\"|\\(.)|([^A-Za-z'\"\\%])|([TZ])", re.DOTALL)
_PIECES: Final[Mapping[str, Callable[[datetime], str]]] = {
    "yyyy": lambda when: f"{when.year:04}",
    "yy": lambda when: f"{when.year % 100:02}",
    "MM": lambda when: f"{when.month:02}",
    "M": lambda when: str(when.month),
    "dd": lambda when: f"{when.day:02}",
    "d": lambda when: str(when.day),
    "HH": lambda when: f"{when.hour:02}",
    "H": lambda when: str(when.hour),
    "hh": lambda when: f"{(when.hour + 11) % 12 + 1:02}",
    "h": lambda when: str((when.hour + 11) % 12 + 1),
    "mm": lambda when: f"{when.minute:02}",
    "m": lambda when: str(when.minute),
    "ss": lambda when: f"{when.second:02}",
    "s": lambda when: str(when.second),
    "tt": lambda when: "AM" if when.hour < 12 else "PM",
}


def read_date(written: str) -> datetime:
    """
    A date in ISO 8601, with or without a time. One without an offset is in UTC.

    Raises:
        Unfit: it is none.
    """
    found = _DATE.fullmatch(written) or _COMPACT_DATE.fullmatch(written)
    if found is None:
        raise Unfit("the text is not a date.")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    micros, zone = int((found.group(7) or "").ljust(6, "0")[:6]), found.group(8)
    try:
        when = datetime(year, month, day, hour, minute, second, micros, UTC)
        return when if zone in (None, "Z") else when - _offset(zone)
    except (ValueError, OverflowError):
        raise Unfit("the text is not a date.") from None


def _offset(zone: str) -> timedelta:
    distance = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return -distance if zone[0] == "-" else distance


def moved(when: datetime, duration: str) -> datetime:
    """
    A date moved by a duration in ISO 8601, such as `P1Y` or `-PT30M`.

    Raises:
        Unfit: it is none, or leads out of the calendar.
    """
    found = _DURATION.fullmatch(duration)
    if found is None or not any(found.groups()[1:]):
        raise Unfit("the text is not a duration in ISO 8601.")
    sign = -1 if found.group(1) else 1
    years, months, weeks, days, hours, minutes, seconds = (sign * int(part or 0) for part in found.groups()[1:])
    try:
        # A year is taken as 365 days and a month as 30, as in Azure Resource Manager.
        return when + timedelta(
            years * 365 + months * 30 + weeks * 7 + days, hours=hours, minutes=minutes, seconds=seconds
        )
    except OverflowError:
        raise Unfit("the date lies outside of the calendar.") from None


def date_text(when: datetime, form: str) -> str:
    """
    A date by a pattern of .NET, standard or custom.

    Raises:
        Unfit: the pattern holds what we do not know.
    """
    pattern = _STANDARD.get(form, form)
    if len(pattern) < 2:
        # A single letter alone is a standard format.
        raise Unfit(f"the date format '{form}' is not available.")
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        found = _PIECE.match(pattern, at)
        if found is None:
            raise Unfit(f"the date format '{form[:50]}' is not available.")
        parts.append(_piece(found, when, form))
        at = found.end()
    return "".join(parts)


def _piece(found: re.Match[str], when: datetime, form: str) -> str:
    if found.group(1) is None:
        return next(part for part in found.groups()[1:] if part is not None)
    letters = found.group()
    if letters[0] == "f" and len(letters) <= 7:
        return f"{when.microsecond:06}0"[: len(letters)]
    piece = _PIECES.get(letters)
    if piece is None:
        raise Unfit(f"the date format '{form[:50]}' is not available.")
    return piece(when)
