"""Every golden case comes out as it was written down."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("golden", Path(__file__).with_name("golden.py"))
assert _spec is not None
assert _spec.loader is not None
golden = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden)


@pytest.mark.parametrize("case", golden.CASES, ids=[case.name for case in golden.CASES])
def test_a_case_comes_out_as_written(case: Path) -> None:
    name, text = golden.outcome(case)
    assert (case / name).exists(), f"{case.name} has no {name}; it would be:\n{text}"
    assert text == (case / name).read_text()
    other = {"plan.txt": "error.txt", "error.txt": "plan.txt"}[name]
    assert not (case / other).exists()
