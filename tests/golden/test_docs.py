"""What the documentation quotes from the code is what the code says."""

import re
import textwrap

import pytest

from .capabilities import BEGIN, COMMAND, DOCUMENT, END, document

CHECKOUT = DOCUMENT.parents[1]
GUIDE = CHECKOUT / "docs" / "writing-a-backend.md"
BLOCKS = re.compile(r"(?:<!-- (?P<file>\S+) -->\n)?```(?:python|toml)\n(?P<code>.*?)```", re.DOTALL)
QUOTED = tuple(BLOCKS.finditer(GUIDE.read_text(encoding="utf-8")))


def test_the_table_of_capabilities_is_that_of_the_classes():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert BEGIN in text
    assert END in text
    assert document(text) == text, f"A capability has changed. If it was to, run: {COMMAND}"


@pytest.mark.parametrize("block", QUOTED, ids=range(len(QUOTED)))
def test_the_code_of_the_guide_is_that_of_the_example(block):
    assert block["file"], f"which file is this of? {block['code']}"
    text = (CHECKOUT / block["file"]).read_text(encoding="utf-8")
    # Methods stand alone in the guide, and in a class in the file.
    assert block["code"] in text or textwrap.indent(block["code"], "    ") in text
