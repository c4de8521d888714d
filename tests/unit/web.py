"""A web server for tests: files in memory, with tags, times, conditions, logins and redirects; it counts requests."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from attrs import Factory, define

if TYPE_CHECKING:
    from collections.abc import Iterator


@define
class Page:
    """What one path answers."""

    body: bytes = b""
    headers: dict[str, str] = Factory(dict)
    status: int = 200
    cut: int | None = None
    """The connection breaks after so many bytes."""


@define
class Web:
    """The pages by path; ``log`` has the path and the headers of each request, ``sent`` the bytes of all bodies."""

    url: str = ""
    pages: dict[str, Page] = Factory(dict)
    log: list[tuple[str, dict[str, str]]] = Factory(list)
    sent: int = 0

    def put(self, path: str, body: bytes | str, **headers: str) -> str:
        """Serve ``body`` at ``path`` and return the URL; ``last_modified=…`` is the header Last-Modified."""
        data = body.encode() if isinstance(body, str) else body
        self.pages[path] = Page(data, {name.replace("_", "-"): value for name, value in headers.items()})
        return self.url + path


@contextmanager
def serve() -> Iterator[Web]:
    """A server on a free port of this machine, until the end of the block."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = {name.lower(): value for name, value in self.headers.items()}
            web.log.append((self.path, asked))
            page = web.pages.get(self.path, Page(b"no such page", status=404))
            tag, when = page.headers.get("etag"), page.headers.get("last-modified")
            same = (tag is not None and asked.get("if-none-match") == tag) or (
                tag is None and when is not None and asked.get("if-modified-since") == when
            )
            self.answer(Page(b"", page.headers, 304) if same else page)

        def answer(self, page: Page) -> None:
            self.send_response(page.status)
            for name, value in page.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body[: page.cut])
            web.sent += len(page.body)
            self.close_connection = page.cut is not None

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
