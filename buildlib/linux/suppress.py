"""``contextlib.suppress`` without contextlib, whose import costs a cold start 4 ms."""


class suppress:  # noqa: N801 - it is used like a function
    """Let the block end without a word where one of these exceptions is raised in it."""

    def __init__(self, *classes: type[BaseException]) -> None:
        self.classes = classes

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        return kind is not None and issubclass(kind, self.classes)
