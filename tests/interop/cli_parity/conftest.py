"""The assertions of the parity module explain themselves like those of a test."""

import pytest

pytest.register_assert_rewrite("tests.interop.cli_parity.parity")
