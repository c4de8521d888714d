"""Names and digests are needed by the fastest commands, so they must not bring in what is slow to import."""

import subprocess
import sys


def loaded_by(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True).stdout.split())


def test_names_and_digests_come_without_attrs_and_typing():
    before = loaded_by("pass")
    loaded = loaded_by("from buildlib.oci import Reference, Digest, chain_id; Reference.parse('a:b')") - before
    assert "buildlib.oci.reference" in loaded
    assert not loaded & {"attr", "attrs", "typing", "json", "pathlib", "tempfile", "subprocess", "logging"}


def test_every_exported_name_exists():
    import buildlib.oci

    for name in buildlib.oci.__all__:
        assert getattr(buildlib.oci, name) is not None
    assert set(buildlib.oci.__all__) <= set(dir(buildlib.oci))
