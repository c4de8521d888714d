"""Scripts: valid Python whatever a Dockerfile holds, and as little of this machine in them as can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bud import cli
from bud.builds import Builds
from bud.emit import script
from bud.progress import Progress
from bud.request import SecretSource, SshSource
from buildlib import Platform, RunOptions
from buildlib.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib import Image
    from tests.unit.upstream import Upstream
    from tests.unit.web import Web

    from .conftest import Builder

pytestmark = pytest.mark.root


def emit(bud: Builder, text: str, **options: Any) -> str:
    with Builds(bud.store, bud.request(text, **options), Progress(None)) as builds:
        return script(builds)


def run(bud: Builder, text: str) -> Image:
    namespace: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, "script.py", "exec"), namespace)
    image: Image = namespace["build"](bud.store)
    return image


def test_names_are_never_in_each_others_way(bud: Builder) -> None:
    bud.file("f", "x")
    names = ["store", "context", "class", "buildlib", "a-b", "a_b", "s.t", "image"]
    text = "".join(f"FROM BASE AS {name}\nRUN echo {name} > /{name}\n" for name in names)
    text += "FROM scratch\nCOPY f /f\n" + "".join(f"COPY --from={name} /{name} /\n" for name in names)
    script = emit(bud, text, timestamp=0)
    assert run(bud, script).id == bud(text, timestamp=0).id


def test_whatever_stands_in_strings(bud: Builder) -> None:
    text = 'FROM BASE\nENV A="it\'s \\"q\\" \\\\ \\${X} ä"\nRUN echo \'"""\' > /q; echo "\\\\"\n'
    text += 'COPY <<E /e\n"""\\\\\\n\'\nE\n'
    assert run(bud, emit(bud, text, timestamp=0)).id == bud(text, timestamp=0).id


def test_what_the_command_line_adds(bud: Builder) -> None:
    text = "FROM BASE\nRUN echo a > /a\nRUN echo b > /b\n"
    options: dict[str, Any] = {
        "names": ("one", "two:3"),
        "labels": {"k": "v"},
        "annotations": {"n": "a"},
        "env": (("E", "1"),),
        "platform": Platform.host(),
        "squash": True,
        "source_date_epoch": 5,
        "rewrite_timestamp": True,
        "run": RunOptions(network="none"),
    }
    image = bud(text, **options)
    twin = run(bud, emit(bud, text, **options))
    assert (twin.id, twin.digest) == (image.id, image.digest)
    assert twin.names == ("localhost/one:latest", "localhost/two:3")
    assert "no_cache=True" in emit(bud, text, no_cache=True)
    assert "cache=True" not in emit(bud, text, layers=False)


def test_secrets_and_proxies_are_named_and_not_shown(bud: Builder, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "secret").write_text("hidden")
    monkeypatch.setenv("http_proxy", "http://user:hidden@proxy")
    monkeypatch.setenv("TOKEN", "hidden")
    text = (
        "FROM BASE\nARG http_proxy=mine\n"
        "RUN --mount=type=secret,id=f --mount=type=secret,id=e,env=E --mount=type=ssh true\n"
        "RUN wc -c < /run/secrets/f > /f || true\n"
    )
    secrets = {"f": SecretSource("file", str(tmp_path / "secret")), "e": SecretSource("env", "TOKEN")}
    ssh = {"default": SshSource("/agent.sock")}
    text_of = emit(bud, text, secrets=secrets, ssh=ssh, proxy={"http_proxy": "http://user:hidden@proxy"})
    assert "hidden" not in text_of
    assert f'buildlib.Secret("f", target="/run/secrets/f", source="{tmp_path}/secret")' in text_of
    assert 'buildlib.Secret("e", env="E", variable="TOKEN")' in text_of
    assert 'buildlib.Ssh("default", agent="/agent.sock")' in text_of
    assert 'for name in ["http_proxy"] if name in os.environ}' in text_of
    assert "if name not in [" in text_of
    compile(text_of, "script.py", "exec")


def test_what_lies_elsewhere_is_fetched_by_the_script(
    bud: Builder, web: Web, upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    url = upstream.repository("a")
    upstream.commit("a", f="1")
    add = web.put("/f", "content")
    text = f"FROM BASE\nCOPY --from=repo f /f\nADD {add} /g\nADD {url} /src\n"
    secrets = {"HTTP_AUTH_TOKEN_127.0.0.1": SecretSource("file", str(tmp_path / "token"))}
    options: dict[str, Any] = {"plan": {"contexts": {"repo": url}}, "secrets": secrets, "timestamp": 0}
    text_of = emit(bud, text, **options)
    assert "t0ken" not in text_of
    assert run(bud, text_of).id == bud(text, **options).id
    assert {asked.get("authorization") for _, asked in web.log} == {"Bearer t0ken"}


def test_a_context_from_standard_input_can_not_be_written_down(bud: Builder) -> None:
    with pytest.raises(UsageError, match="standard input"):
        emit(bud, "FROM BASE\n", fetched="-")


def test_the_command_prints_plan_or_script_and_builds_nothing(bud: Builder, capsys: pytest.CaptureFixture[str]) -> None:
    bud.file("Dockerfile", f"FROM {bud.base}\nRUN echo told\n")
    words, before = [f"--root={bud.store.root}", "-q", "-t", "site"], bud.store.images()
    assert cli.main([*words, "--dry-run", str(bud.context)]) == 0
    assert '  2 run ["/bin/sh", "-c", "echo told"]\n' in capsys.readouterr().out
    assert cli.main([*words, "--emit-python", str(bud.context)]) == 0
    assert 'names=["site"]' in capsys.readouterr().out
    assert bud.store.images() == before
    assert bud.store.containers() == []
