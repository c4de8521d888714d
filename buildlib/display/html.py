"""Small pieces of HTML, all text escaped, and the style that fits light and dark notebooks. Pure."""

from __future__ import annotations

from html import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# JupyterLab, notebook 7 and VS Code set their colours as variables; elsewhere the browser's own apply.
STYLE = """
.bl{--ink:var(--jp-content-font-color1,var(--vscode-editor-foreground,CanvasText));
--soft:var(--jp-content-font-color2,var(--vscode-descriptionForeground,GrayText));
--line:var(--jp-border-color2,var(--vscode-widget-border,#8884));--shade:var(--jp-layout-color2,#8881);
color:var(--ink);font:13px/1.45 var(--jp-content-font-family,system-ui,sans-serif);max-width:900px}
.bl h4{margin:.2em 0 .4em;font-size:15px}.bl h4 small{color:var(--soft);font-weight:400;margin-left:.6em}
.bl code,.bl .m{font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:12px;background:none!important;
color:inherit}
.bl table.t{border-collapse:collapse;margin:.3em 0 .6em;font-size:12px;width:auto}
.bl table.t td,.bl table.t th{border:0;border-bottom:1px solid var(--line);padding:2px 10px 2px 0;text-align:left;
vertical-align:top;color:inherit;background:none;white-space:normal;max-width:640px;overflow-wrap:anywhere}
.bl table.t th{color:var(--soft);font-weight:500}.bl table.t td.n,.bl table.t th.n{text-align:right;white-space:nowrap}
.bl .bar{display:flex;height:18px;border-radius:4px;overflow:hidden;background:var(--shade);margin:.3em 0}
.bl .bar i{display:block;height:100%;min-width:2px}
.bl .dot{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px}
.bl details{margin:0}.bl summary{cursor:pointer;padding:1px 0}.bl details>div{padding-left:18px}
.bl .f{padding-left:13px}.bl .s{color:var(--soft);margin-left:.7em;font-size:11px}
.bl .added{color:#1a9d55}.bl .changed{color:#b8860b}.bl .deleted{color:#d64545;text-decoration:line-through}
"""

_HUES = (212, 32, 140, 280, 0, 180, 60, 320)


def page(body: str) -> str:
    """A fragment with its style."""
    return f'<style>{STYLE}</style><div class="bl">{body}</div>'


def text(value: object) -> str:
    """Anything as text in HTML; control characters and what is not Unicode are shown by their codes."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in str(value))
    shown = shown.encode("utf-8", "backslashreplace").decode()
    return escape(shown)


def tag(name: str, body: str, **attributes: str) -> str:
    """An element; ``body`` is HTML already, attributes are text (``class_`` for class)."""
    given = "".join(f' {key.rstrip("_")}="{text(value)}"' for key, value in attributes.items())
    return f"<{name}{given}>{body}</{name}>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table of cells that are HTML; ``numbers`` are the columns that are aligned to the right."""

    def cell(kind: str, index: int, body: str) -> str:
        return tag(kind, body, class_="n") if index in numbers else tag(kind, body)

    lines = [tag("tr", "".join(cell("th", i, text(each)) for i, each in enumerate(head)))] if head else []
    lines += [tag("tr", "".join(cell("td", i, each) for i, each in enumerate(row))) for row in rows]
    return tag("table", "".join(lines), class_="t")


def fold(title: str, body: str, *, opened: bool = False) -> str:
    """What can be opened and closed; both are HTML."""
    return f"<details{' open' if opened else ''}><summary>{title}</summary><div>{body}</div></details>"


def colour(number: int) -> str:
    """The colour of the layer ``number``, told apart from its neighbours on light and dark ground."""
    return f"hsl({_HUES[number % len(_HUES)]} 55% {52 + 8 * (number // len(_HUES) % 2)}%)"


def size(count: int) -> str:
    """Bytes in powers of 1000, like ``4.9 MB``."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
