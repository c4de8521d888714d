"""The module ``signal`` without its enumerations, whose import costs a cold start 5 ms: here signals are numbers."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

__all__ = ["signal"]
