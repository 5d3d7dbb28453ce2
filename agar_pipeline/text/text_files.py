"""Reads text files from outside, so that every reader accepts the same encodings and formats.

UTF-8 with or without a byte order mark, UTF-16 and UTF-32 are accepted. No other encoding is guessed, because a wrong
guess would change names unnoticed. Here: from bytes to text, lines and plain values. Not here: what they mean
(`fiftyone_io.annotation_files`, `config`), and files that only we write.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from agar_pipeline.text.unplaced_error import UnplacedError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_MANY = 120


class TextFileError(UnplacedError):
    """The content of a file is not text, or not in the format that is read."""


def decode_text(content: bytes) -> str:
    """Decode the text of a file, without its byte order mark.

    Raises:
        TextFileError: the bytes are not text in one of the accepted encodings.

    >>> decode_text("plate".encode("utf-16"))
    'plate'
    """
    encoding = json.detect_encoding(content)  # by the byte order mark, or by the positions of zero bytes
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        what = f"byte 0x{content[error.start]:02x} at {error.start:,}"
        raise TextFileError(f"is not text in UTF-8 or UTF-16 ({what})", next_step="save it as UTF-8") from None
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        raise TextFileError("is not text, because it holds zero bytes", next_step="save it as text in UTF-8")
    return text


def read_text(path: Path) -> str:
    """Read the text of a file. Raises OSError, and TextFileError as `decode_text`."""
    return decode_text(path.read_bytes())


def read_lines(path: Path) -> list[str]:
    """Read the lines of a file without line ends of any system. An empty last line is left out."""
    lines = _LINE_ENDS.split(read_text(path))
    return lines[:-1] if lines[-1] == "" else lines


def read_json(path: Path) -> Any:
    """Read plain values from a JSON file.

    NaN and Infinity are accepted; JSON does not have them, but some exporters write them.

    Raises:
        OSError: the file cannot be read.
        TextFileError: it is not JSON.
    """
    return parse_json(path.read_bytes())


def parse_json(content: bytes) -> Any:
    """Parse the content of a JSON file as `read_json` does."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        text = decode_text(content)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TextFileError(f"is not JSON, or is cut off ({_short(error)})", next_step="export it again") from None


def read_yaml(path: Path) -> Any:
    """Read plain values from a YAML file.

    Raises:
        OSError: the file cannot be read.
        TextFileError: it is not YAML; the reason has its line.
    """
    import yaml

    from agar_pipeline.text.yaml_faults import explain_yaml

    class Loader(yaml.SafeLoader):
        """A safe loader that refuses a key that occurs twice, because the first value would be dropped unnoticed."""

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
        return yaml.load(text, Loader)  # noqa: S506 - it derives from SafeLoader
    except yaml.MarkedYAMLError as error:
        fault = explain_yaml(error, text)
        raise TextFileError(f"is not YAML: {fault.problem}", next_step=fault.cure) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise TextFileError(f"is not YAML ({_short(error)})", next_step="correct the file") from None


def read_xml(path: Path) -> Element:
    """Read the root element of an XML file, in the encoding that it declares.

    Raises:
        OSError: the file cannot be read.
        TextFileError: it is not XML, or it defines entities, which can expand without limit.
    """
    from xml.etree import ElementTree

    content = path.read_bytes()
    text: str | bytes = content.lstrip()
    # the declared encoding is often that of an earlier version of the file
    if json.detect_encoding(content) != "utf-8":
        text = _DECLARATION.sub("", decode_text(content))
    if ("<!ENTITY" in text) if isinstance(text, str) else (b"<!ENTITY" in text):
        raise TextFileError(
            "defines XML entities, which can grow without end", next_step="remove its lines that begin with <!ENTITY"
        )
    try:
        return ElementTree.fromstring(text)  # noqa: S314 - expat resolves no external entity, and limits expansion
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise TextFileError(f"is not XML, or is cut off ({_short(error)})", next_step="export it again") from None


def _short(error: BaseException) -> str:
    text = (str(error).splitlines() or [""])[0] or type(error).__name__
    return text if len(text) <= _MANY else f"{text[:_MANY]}…"
