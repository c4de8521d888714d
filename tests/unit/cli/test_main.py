"""Dispatch, exit codes, and what goes to stderr."""

import os
import signal
import subprocess
import sys
import time

import pytest

from buildlib.cli import ALIASES, BROKEN_PIPE_EXIT, INTERRUPTED_EXIT, MODULES, _load, main
from buildlib.cli.failure import report
from buildlib.cli.flags import GLOBAL_FLAGS
from buildlib.errors import BuildlibError, RunError
from tests.unit.cli.conftest import start


def test_version_is_one_line(call):
    assert call("--version").out.startswith("buildlib version ")
    assert call("-v").out == call("--version").out
    assert len(call("version").out.splitlines()) == 5


def test_a_failure_is_one_line_and_a_hint_and_exits_125(call):
    got = call("imagse")
    assert got.code == 125
    assert got.out == ""
    assert got.err == 'Error: unknown command "imagse" for "buildlib"\nhint: did you mean "images"?\n'


def test_global_flags_are_checked(call):
    assert call("--log-level", "loud", "images").err.startswith("Error: unknown log level 'loud'\nhint: one of trace,")
    assert "Error: there is no storage driver 'btrfs'" in call("--storage-driver=btrfs", "images").err
    assert call("--nope").err.startswith("Error: unknown flag: --nope")
    assert call("--runroot", "/x", "--storage-driver", "overlay", "images").code == 0


def test_the_root_after_the_verb_wins_over_the_one_before_it_and_both_over_the_environment(
    rows, tmp_path, monkeypatch, capsys
):
    rows.image("aa1")
    monkeypatch.setenv("BUILDLIB_ROOT", "/nowhere")
    store = str(tmp_path / "store")
    assert main(["--root", "/elsewhere", "images", "-q", "--root", store]) == 0
    assert main(["--root", store, "images", "-q"]) == 0
    assert capsys.readouterr().out == "aa1000000000\n" * 2


def test_the_environment_names_the_root(rows, tmp_path, monkeypatch, capsys):
    rows.image("aa1")
    monkeypatch.setenv("BUILDLIB_ROOT", str(tmp_path / "store"))
    assert main(["images", "-q"]) == 0
    assert capsys.readouterr().out == "aa1000000000\n"


def test_the_exit_code_of_a_command_is_passed_on(capsys):
    assert report(RunError("the command failed", argv=["false"], exit_code=42, output=None)) == 42
    assert report(BuildlibError("no", hint="do")) == 125
    assert capsys.readouterr().err == "Error: the command failed\nError: no\nhint: do\n"


def test_a_bug_is_said_to_be_one_and_shows_its_traceback_only_when_asked(capsys):
    try:
        raise KeyError("x")
    except KeyError as error:
        assert report(error) == 125
        plain = capsys.readouterr().err
        report(error, "debug")
    assert plain.startswith("Error: internal error: KeyError: 'x'\nhint: ")
    assert "Traceback" not in plain
    assert "Traceback" in capsys.readouterr().err


def test_an_error_of_the_system_names_the_file(capsys):
    assert report(FileNotFoundError(2, "No such file or directory", "/x/y")) == 125
    assert capsys.readouterr().err == "Error: /x/y: No such file or directory\n"


def test_a_reader_that_goes_away_ends_the_program_quietly(rows, tmp_path):
    for number in range(2000):
        rows.image(f"{number:04}", f"localhost/{'long-name' * 10}:{number}")
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    words = ["--root", str(tmp_path / "store"), "images"]
    listing = start(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered)
    listing.stdout.read(10)
    listing.stdout.close()
    assert listing.stderr.read() == b""
    assert listing.wait() == BROKEN_PIPE_EXIT


def as_console_script(redirections, *words):
    """What the installed command does: its launcher calls ``program``."""
    launcher = "import sys; from buildlib.cli import program; program()"
    shell = f'exec "$@" {redirections}'
    argv = ["/bin/sh", "-c", shell, "sh", sys.executable, "-c", launcher, *words]
    return subprocess.run(argv, capture_output=True, text=True)


def test_the_console_script_prints_everything_before_it_ends(rows, tmp_path):
    for number in range(300):
        rows.image(f"{number:04}", f"localhost/{'long-name' * 10}:{number}")
    done = as_console_script("", "--root", str(tmp_path / "store"), "images", "-n")
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (0, 300, "")
    assert as_console_script("", "nothing").returncode == 125


def test_streams_that_the_caller_closed_are_not_mistaken_for_files_of_the_store(rows, tmp_path):
    rows.image("aa1", "localhost/site:1")
    words = ["--root", str(tmp_path / "store"), "images"]
    for redirections in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = as_console_script(redirections, *words)
        assert done.returncode == 0, done.stderr
        assert ("site" in done.stdout) == (">&- " not in f"{redirections} ".replace("2>&- ", "")), redirections
    assert as_console_script("2>&-", "nothing").returncode == 125
    assert rows.db.rows("PRAGMA integrity_check") == [("ok",)]
    assert as_console_script(">/dev/full", *words).returncode != 0


def test_names_that_are_not_utf8_are_printed_as_the_bytes_that_they_are(rows, tmp_path):
    rows.container("aa1", "plain")
    words = ["--root", str(tmp_path / "store"), "containers", "--format", b"{{.ContainerName}}\xff"]
    listing = start(*words, stdout=subprocess.PIPE, env=os.environ | {"LC_ALL": "C.UTF-8"})
    assert listing.communicate()[0] == b"plain\xff\n"


def test_ctrl_c_ends_with_130_and_says_nothing(rows, tmp_path):
    pipe = tmp_path / "store" / "blobs" / "sha256" / rows.image("aa1")
    pipe.unlink()
    os.mkfifo(pipe)  # a verb that waits for ever, as a long operation would
    waiting = start("--root", str(tmp_path / "store"), "images", "--filter", "label=x", stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            time.sleep(0.01)  # nobody has it open for reading yet
        else:
            break
    waiting.send_signal(signal.SIGINT)
    assert waiting.communicate()[1] in (b"", b"Error")
    assert waiting.returncode in (INTERRUPTED_EXIT, 0)


@pytest.mark.parametrize("name", MODULES)
def test_every_verb_has_help_with_an_example_that_uses_it(call, name):
    verb = _load(name).VERB
    assert verb.name == name
    assert any(f"buildlib {called}" in verb.example for called in (name, *verb.aliases))
    got = call(name, "--help")
    assert got.code == 0
    assert verb.summary in got.out
    assert call("help", name).out == got.out
    assert all((f"--{flag.name}" in got.out) != flag.hidden for flag in verb.flags)


def test_aliases_are_those_that_the_verbs_declare():
    assert {alias: name for name in MODULES for alias in _load(name).VERB.aliases} == ALIASES


@pytest.mark.parametrize("name", MODULES)
def test_the_flags_of_a_verb_are_unambiguous_and_do_not_hide_global_ones(name):
    flags = _load(name).VERB.flags
    names = [flag.name for flag in flags]
    shorts = [flag.short for flag in flags if flag.short]
    assert len(set(names)) == len(names)
    assert len(set(shorts)) == len(shorts)
    # Buildah has these twice, too: before the verb they mean something else.
    assert not ({*names} & {flag.name for flag in GLOBAL_FLAGS}) - {"debug", "userns-gid-map", "userns-uid-map"}
    assert all(flag.help for flag in flags)


def test_the_help_of_the_program_lists_every_verb(call):
    text = call("--help").out
    assert all(f"\n  {name} " in text for name in MODULES)
    assert "build" in text
    assert call().out == text
    assert call("help", "nope").code == 125


@pytest.mark.parametrize("words", [["--version"], ["images"], ["containers"], ["version"]])
def test_hot_verbs_import_nothing_heavy(words, rows, tmp_path):
    program = (
        "import sys; from buildlib.cli import main; main(sys.argv[1:])\n"
        "print(*sorted(set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--root", str(tmp_path / "store"), *words], capture_output=True, text=True
    )
    loaded = set(done.stderr.split())
    heavy = {"attr", "attrs", "argparse", "typing", "json", "pathlib", "tempfile", "subprocess", "logging", "structlog"}
    heavy |= {"collections", "functools", "warnings"}
    site = set(subprocess.check_output([sys.executable, "-c", "import sys; print(*sys.modules)"], text=True).split())
    assert loaded & heavy - site == set()
    assert "buildlib.store" not in loaded


def test_files_of_settings_are_named_by_global_flags(call, monkeypatch, tmp_path):
    names = ("REGISTRIES_CONF", "REGISTRIES_CONF_DIR", "SHORT_NAME_ALIASES_CONF", "POLICY", "MOUNTS_CONF")
    for name in names:
        monkeypatch.setenv(f"CONTAINERS_{name}", "before")  # so that it is put back afterwards
    flags = (
        "registries-conf",
        "registries-conf-dir",
        "short-name-alias-conf",
        "signature-policy",
        "default-mounts-file",
    )
    before = [f"--{flag}={tmp_path}/{number}" for number, flag in enumerate(flags)]
    assert call(*before, "images").code == 0
    assert [os.environ[f"CONTAINERS_{name}"] for name in names] == [f"{tmp_path}/{number}" for number in range(5)]
    assert call("images", f"--registries-conf={tmp_path}/after").code == 0
    assert os.environ["CONTAINERS_REGISTRIES_CONF"] == f"{tmp_path}/after"


def test_a_flag_that_verb_and_program_have_is_the_verbs_behind_it(call):
    assert '"debug"' in call("info", "--debug").out
    assert '"debug"' not in call("--debug", "info").out


def test_flags_for_storage_that_mean_nothing_here_are_accepted(call):
    accepted = ("--storage-opt", "a=b", "--cgroup-manager", "cgroupfs", "--transient-store", "--cpu-profile", "x")
    assert call(*accepted, "images").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("from", "--ulimit", "nofile=9", "--add-host", "a:1.2.3.4", "scratch"),
        ("config", "--env", "A=1", "--cmd", "a b", "made"),
        ("images", "--format", '{{range $i, $x := split .Name "/"}}{{$i}}{{end}}'),
        ("rename", "made", "other"),
        ("tag", "nothing", "x"),
    ],
)
def test_verbs_that_execute_nothing_import_nothing_heavy(call, words, tmp_path):
    assert call("from", "--name", "made", "scratch").code == 0
    code = f"import sys\nfrom buildlib.cli import main\nmain({['--root', str(tmp_path / 'store'), *words]!r})\n"
    code += "print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.splitlines()[-1].split())
    assert not loaded & {"attr", "typing", "inspect", "logging", "subprocess", "tempfile", "tomllib", "ssl", "urllib3"}
    assert not {
        name for name in loaded if name.startswith(("buildlib.registry", "buildlib.transports", "buildlib.worker"))
    }
