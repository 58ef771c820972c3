"""
The body of a send to `Data`, by its content type; and the metadata that came in headers. Pure.

Sources: the service's own emulator for content types, charsets and metadata headers.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, NoReturn

import msgspec

from hubwire.model.errors import BadRequest, UnsupportedMedia
from hubwire.model.messages import NO_METADATA, Data, DataKind
from hubwire.model.names import metadata_fault
from hubwire.model.payloads import is_any

__all__ = ["MediaType", "data_of", "json_text", "media_type", "metadata_of", "sendable"]

_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105  of RFC 9110, proving nobody
_MEDIA_TYPE: Final = re.compile(rf"[ \t]*({_TOKEN}/{_TOKEN})[ \t]*((?:;.*)?)", re.DOTALL)
_PARAMETER: Final = re.compile(rf';[ \t]*(?:({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*"))?[ \t]*', re.DOTALL)
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")

_METADATA_PREFIX: Final = "x-webpubsub-metadata-"

# A list of our own: looking a name up among Python's codecs would also find those that are no charset, and would keep
# every unknown name for ever.
_CHARSETS: Final[Mapping[str, str]] = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "latin1": "iso-8859-1",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "utf-32": "utf-32",
    "utf-32le": "utf-32-le",
    "utf-32be": "utf-32-be",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "gb18030": "gb18030",
    "big5": "big5",
    "shift_jis": "shift_jis",
    "euc-jp": "euc_jp",
    "iso-2022-jp": "iso2022_jp",
    "euc-kr": "euc_kr",
    "koi8-r": "koi8_r",
    "koi8-u": "koi8_u",
    **{f"iso-8859-{part}": f"iso-8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)},
    **{f"windows-{page}": f"cp{page}" for page in range(1250, 1259)},
}


class MediaType(NamedTuple):
    """
    Attributes:
        name: such as "text/plain", in lower case.
        codec: Python's name of the charset; UTF-8 where none is given.
    """

    name: str
    codec: str


_BINARY: Final = MediaType("application/octet-stream", "utf-8")
_KINDS: Final[Mapping[str, DataKind]] = {
    "text/plain": "text",
    "application/json": "json",
    "application/octet-stream": "binary",
    "application/x-protobuf": "protobuf",
}


def media_type(headers: Iterable[tuple[str, str]]) -> MediaType | None:
    """
    What the body is said to be; None if nothing is said.

    Raises:
        UnsupportedMedia: it cannot be parsed, was said twice, or names an unknown charset.
    """
    values = [value for name, value in headers if name == "content-type" and value.strip()]
    if not values:
        return None
    match = _MEDIA_TYPE.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        _unsupported("The Content-Type header cannot be understood.")
    charset = _charset(match[2])
    codec = _CHARSETS.get(charset)
    if codec is None:
        _unsupported("The charset of the Content-Type header is not supported.")
    return MediaType(match[1].lower(), codec)


def _charset(parameters: str) -> str:
    charset = "utf-8"
    place = 0
    while place < len(parameters):
        match = _PARAMETER.match(parameters, place)
        if match is None:
            _unsupported("The Content-Type header cannot be understood.")
        if match[1] is not None and match[1].lower() == "charset":
            charset = re.sub(r"\\(.)", r"\1", match[2].strip('"')).lower()
        place = match.end()
    return charset


def _unsupported(message: str) -> NoReturn:
    raise UnsupportedMedia(message, "Content-Type")


def sendable(media: MediaType | None) -> MediaType:
    """
    The media type of a send, known before its body is read. Nothing said is binary.

    Raises:
        UnsupportedMedia: a type that a send does not take.
    """
    if media is None:
        return _BINARY
    if media.name not in _KINDS:
        _unsupported(f"The content type must be one of {', '.join(_KINDS)}.")
    return media


def data_of(media: MediaType, body: bytes) -> Data:
    """
    A payload in the shape in which receivers are given it.

    Args:
        media: one that is sendable.

    Raises:
        BadRequest: text that is not in its charset, JSON that is none, or protobuf that is no `Any`.
    """
    kind = _KINDS[media.name]
    match kind:
        case "binary":
            return Data(kind, body)
        case "text":
            return Data(kind, _utf8(media, body))
        case "json":
            return Data(kind, json_text(media, body))
        case "protobuf":
            if not is_any(body):
                raise BadRequest("The body is not a google.protobuf.Any.", "Body")
            return Data(kind, body)


def json_text(media: MediaType, body: bytes) -> bytes:
    """
    The text of a JSON body as UTF-8, in the sender's own spelling.

    Raises:
        BadRequest: it is not one JSON value.
    """
    text = _utf8(media, body)
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        if not _is_json_with_lone_surrogates(text):
            raise BadRequest("The body is not a valid JSON.", "Body") from None
    return text


def _is_json_with_lone_surrogates(text: bytes) -> bool:
    # RFC 8259, section 8.2: the grammar allows the escape of half a character, and browsers write it. The fast decoder
    # does not, so the slow one has the last word; with its own extensions off.
    if _SURROGATE.search(text) is None:
        return False
    try:
        json.loads(text, parse_constant=_refuse, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return not text.startswith(b"\xef\xbb\xbf")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _utf8(media: MediaType, body: bytes) -> bytes:
    try:
        text = body.decode(media.codec)
        return body if media.codec == "utf-8" else text.encode()
    except UnicodeError:
        raise BadRequest("The body is not text in the charset of its content type.", "Body") from None


def metadata_of(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """
    What the `X-WebPubSub-Metadata-<key>` headers say. Keys are in lower case; of a header that repeats or holds commas
    the last value counts.

    Raises:
        BadRequest: a key or value that is not legal, or too much of them.
    """
    metadata = {
        name[len(_METADATA_PREFIX) :]: value.rsplit(",", 1)[-1].strip()
        for name, value in headers
        if name.startswith(_METADATA_PREFIX)
    }
    if not metadata:
        return NO_METADATA
    fault = metadata_fault(metadata)
    if fault is not None:
        raise BadRequest(f"X-WebPubSub-Metadata: {fault}.", "X-WebPubSub-Metadata")
    return metadata
