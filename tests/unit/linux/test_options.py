"""Option words of mount(8), sorted."""

from __future__ import annotations

from buildlib.linux import mount
from buildlib.linux.options import Options, parse


def test_attributes_of_the_mount_are_told_from_options_of_the_file_system() -> None:
    options = parse(["nosuid", "size=64k", "ro", "mode=755", "newinstance", "defaults"])
    assert options == Options(
        attributes=mount.ATTR_NOSUID | mount.ATTR_RDONLY, rest=("size=64k", "mode=755", "newinstance")
    )


def test_the_last_of_two_words_that_contradict_wins() -> None:
    assert parse(["ro", "rw"]) == Options(clear=mount.ATTR_RDONLY)
    assert parse(["rw", "ro"]) == Options(attributes=mount.ATTR_RDONLY)


def test_binds_and_propagation_are_recognised() -> None:
    assert parse(["rbind", "rslave"]) == Options(bind=True, recursive=True, propagation=mount.MS_SLAVE)
    assert parse(["bind", "rro"]) == Options(bind=True, attributes=mount.ATTR_RDONLY)
