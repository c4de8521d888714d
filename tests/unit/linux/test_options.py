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
    assert parse(["rbind", "rslave"]) == Options(
        bind=True, recursive=True, propagation=mount.MS_SLAVE, all_propagation=True
    )
    assert parse(["bind", "shared"]) == Options(bind=True, propagation=mount.MS_SHARED)


def test_recursive_attributes_are_told_from_those_of_the_mount_itself() -> None:
    assert parse(["rbind", "rro", "nosuid", "rsuid"]) == Options(
        bind=True,
        recursive=True,
        attributes=mount.ATTR_NOSUID,
        all_attributes=mount.ATTR_RDONLY,
        all_clear=mount.ATTR_NOSUID,
    )
    assert parse(["relatime", "rrelatime"]) == Options(clear=mount.ATTR_ATIME_MASK, all_clear=mount.ATTR_ATIME_MASK)


def test_what_is_no_option_of_the_kernel_is_recognised() -> None:
    assert parse(["tmpcopyup", "size=1k"]) == Options(copy_up=True, rest=("size=1k",))
    assert parse(["rbind", "ridmap"]) == Options(bind=True, recursive=True, idmap="ridmap")
