"""Text files of others, read in one place, so that what one reader takes every reader takes.

UTF-8 with or without a byte order mark, UTF-16 and UTF-32; no other encoding is guessed, since a wrong guess changes
names in silence. Here: from bytes to text, lines and plain values. Not here: what they mean, and files that only we
write.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_MANY = 120


class TextFileError(ValueError):
    """Why a file is not what it should be, in half a sentence that follows the file's name: `is not JSON (…)`."""


def decode_text(content: bytes) -> str:
    """The text of a file, without its byte order mark.

    Raises:
        TextFileError: the bytes are no text in an encoding that can be told.
    """
    encoding = json.detect_encoding(content)  # by the byte order mark, or by where the zero bytes are
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        what = f"byte 0x{content[error.start]:02x} at {error.start:,}"
        raise TextFileError(f"is not text in UTF-8 or UTF-16 ({what}): save it as UTF-8") from None
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        raise TextFileError("is not text, it holds zero bytes: save it as UTF-8")
    return text


def read_text(path: Path) -> str:
    """The text of a file; raises OSError, and TextFileError as `decode_text`."""
    return decode_text(path.read_bytes())


def read_lines(path: Path) -> list[str]:
    """Lines without their ends, whatever system wrote them; the last one only where it is not empty."""
    lines = _LINE_ENDS.split(read_text(path))
    return lines[:-1] if lines[-1] == "" else lines


def read_json(path: Path) -> Any:
    """Plain values; NaN and Infinity too, which JSON does not have and other exporters write.

    Raises:
        OSError: the file cannot be read.
        TextFileError: it is no JSON.
    """
    return parse_json(path.read_bytes())


def parse_json(content: bytes) -> Any:
    """`read_json` of a file's content."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        text = decode_text(content)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TextFileError(f"is not JSON ({_short(error)})") from None


def read_yaml(path: Path) -> Any:
    """Plain values of a YAML file.

    Raises:
        OSError: the file cannot be read.
        TextFileError: it is no YAML; the reason has its line.
    """
    import yaml

    from agar_pipeline.text.yaml_faults import explain_yaml

    class Loader(yaml.SafeLoader):
        """As ever, but a key that stands twice is refused: the first of them would be forgotten in silence."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key, _ in node.value:
                if (key.tag, key.value) in seen if isinstance(key, yaml.ScalarNode) else False:
                    problem = f"found duplicate key {key.value}"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add((key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key))
            return super().construct_mapping(node, deep)

    text = read_text(path)
    try:
        return yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        raise TextFileError(f"is not YAML ({explain_yaml(error, text)})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise TextFileError(f"is not YAML ({_short(error)})") from None


def read_xml(path: Path) -> Element:
    """The root element of an XML file, in the encoding that it declares.

    Raises:
        OSError: the file cannot be read.
        TextFileError: it is no XML, or defines entities, which can grow without end.
    """
    from xml.etree import ElementTree

    content = path.read_bytes()
    text: str | bytes = content.lstrip()
    if json.detect_encoding(content) != "utf-8":  # what is declared is often left from before
        text = _DECLARATION.sub("", decode_text(content))
    if ("<!ENTITY" in text) if isinstance(text, str) else (b"<!ENTITY" in text):
        raise TextFileError("defines entities, which no annotation needs: take them out")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise TextFileError(f"is not XML ({_short(error)})") from None


def _short(error: BaseException) -> str:
    text = (str(error).splitlines() or [""])[0] or type(error).__name__
    return text if len(text) <= _MANY else f"{text[:_MANY]}…"
