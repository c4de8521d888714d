"""Cells that build: ``%load_ext buildlib`` brings ``%%dockerfile``, ``%%run``, ``%%incontainer`` and ``%buildlib``."""

from __future__ import annotations

from typing import Any


def load(shell: Any) -> None:
    """Give an IPython shell the magics; see :mod:`buildlib.jupyter.magics`."""
    from buildlib.jupyter.magics import BuildlibMagics

    shell.register_magics(BuildlibMagics)
