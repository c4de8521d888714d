"""Reading and writing JSON by the C parts of the module json gives what the module gives, errors included."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.oci.json_text import dumps, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_is_written_is_what_json_writes_and_reads_back(value: object) -> None:
    assert dumps(value) == json.dumps(value, separators=(",", ":"))
    assert loads(json.dumps(value, indent=2)) == value


@pytest.mark.parametrize("text", ["", "{", "[1,]", '{"a" 1}', "nul", "1 2", '"\x01"', "NaN", "-Infinity", '"\\q"'])
def test_what_is_not_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(text)
    code = f"from buildlib.oci.json_text import loads\ntry: loads({text!r})\nexcept ValueError: print('told')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "told\n"


def test_what_json_has_not_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        dumps({"a": {1, 2}})
