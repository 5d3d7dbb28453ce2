"""Renders templates to HTML files.

Here: what all pages share. Not here: the content of a page, how a number is written (`number_formats`).
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from agar_pipeline.reports.number_formats import number, percent, score, signed, whole

TEMPLATES_DIR = Path(__file__).parent / "templates"


def write_page(path: Path, template: str, values: dict[str, Any], script: str = "") -> None:
    """Render `templates/<template>` into one HTML file that loads no other file.

    Args:
        values: Values for the template; they are escaped when they are shown.
        script: Our own JavaScript; the page's security policy allows only this exact text.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    trusted = Markup(script)  # noqa: S704 - our own, see Args
    allowed = {"script": trusted, "script_digest": digest if script else ""}
    html = _environment().get_template(template).render(values | allowed)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(html.encode("utf-8", errors="backslashreplace"))


def sentence(text: str) -> Markup:
    """Return one of our sentences as HTML: what stands in backticks is shown as code.

    >>> sentence("only `images: decode` finds <it>")
    Markup('only <code>images: decode</code> finds &lt;it&gt;')
    """
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES_DIR),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"whole": whole, "score": score, "number": number, "percent": percent, "signed": signed}
    environment.filters["sentence"] = sentence
    return environment
