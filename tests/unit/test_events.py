"""Events and their sinks."""

import pytest
import structlog

from buildlib import events


def test_events_are_frozen_values():
    event = events.Output("stdout", "hello")
    assert event == events.Output("stdout", "hello")
    with pytest.raises(AttributeError, match="frozen"):
        event.text = "other"  # type: ignore[misc]


def test_the_default_sink_is_silent(capsys):
    events.silent(events.Log("error", "lost"))
    assert capsys.readouterr() == ("", "")


def test_structlog_gets_one_line_an_event():
    sink = events.structlog_sink()
    with structlog.testing.capture_logs() as lines:
        sink(events.StepStarted("1", "RUN true", 1, 2))
        sink(events.StepFinished("1", cached=True))
        sink(events.Log("warning", "look", {"at": "this"}))
        sink(events.BytesMoved("blob", 5, 10))
        sink(events.BytesMoved("blob", 10, 10))
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("info", "step started"),
        ("info", "step finished"),
        ("warning", "look"),
        ("debug", "bytes moved"),
    ]
    assert lines[1]["cached"] is True
    assert lines[2]["at"] == "this"


def test_a_bound_logger_of_the_caller_is_used():
    log = structlog.get_logger().bind(build="7")
    with structlog.testing.capture_logs() as lines:
        events.structlog_sink(log)(events.Output("stderr", "x"))
    assert lines[0]["build"] == "7"
