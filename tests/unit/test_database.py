"""The database: one truth for all threads and processes, and clear words when it can't be used."""

import os
import sqlite3
import subprocess
import sys
import threading

import pytest

from buildlib import database
from buildlib.database import VERSION, Database
from buildlib.errors import StoreBusy, StoreError, StoreFull


@pytest.fixture
def db(tmp_path):
    opened = Database(str(tmp_path / "db.sqlite"))
    yield opened
    opened.close()


def add(db, name, image="0"):
    with db.transaction() as conn:
        conn.execute("INSERT INTO names VALUES (?, ?, 0)", (name, image))


def names(db):
    return [row[0] for row in db.rows("SELECT name FROM names ORDER BY name")]


def fill(folder):
    fd = os.open(f"{folder}/filler", os.O_CREAT | os.O_WRONLY)
    with pytest.raises(OSError, match="No space"):
        while True:
            os.write(fd, bytes(4096))
    os.close(fd)


def test_a_transaction_happens_as_a_whole_or_not_at_all(db):
    with pytest.raises(ZeroDivisionError), db.transaction():
        add(db, "a")
        raise ZeroDivisionError
    assert names(db) == []
    with db.transaction():
        add(db, "a")
        add(db, "b")
    assert names(db) == ["a", "b"]


def test_a_nested_transaction_is_part_of_the_outer_one(db):
    with pytest.raises(ZeroDivisionError), db.transaction():
        with db.transaction():
            add(db, "a")
        raise ZeroDivisionError
    assert names(db) == []


def test_readers_see_the_last_whole_state_while_another_thread_writes(db):
    add(db, "a")
    seen = []
    with db.transaction():
        add(db, "b")
        thread = threading.Thread(target=lambda: seen.extend(names(db)))
        thread.start()
        thread.join()
    assert seen == ["a"]


def test_writers_take_turns(db):
    def write(number):
        for step in range(20):
            add(db, f"{number}-{step}")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(db)) == 160


def test_a_thread_that_ends_closes_its_connection(db):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for number in range(50):
        thread = threading.Thread(target=add, args=(db, str(number)))
        thread.start()
        thread.join()
    assert len(os.listdir("/proc/self/fd")) <= before + 3  # noqa: PTH208


def test_a_forked_process_opens_a_connection_of_its_own(db):
    add(db, "parent")
    with db.transaction():
        add(db, "unfinished")
        pid = os.fork()
        if pid == 0:
            # It must see neither the parent's transaction nor its connection.
            os._exit(0 if names(db) == ["parent"] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    pid = os.fork()
    if pid == 0:
        add(db, "child")
        db.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    add(db, "parent again")
    assert names(db) == ["child", "parent", "parent again", "unfinished"]
    assert db.row("PRAGMA integrity_check") == ("ok",)


def test_several_processes_may_create_it_at_once(tmp_path):
    wait = "import sys; from buildlib.database import Database; print(flush=True); sys.stdin.readline()"
    for number in range(5):
        code = f"{wait}; Database({str(tmp_path / str(number))!r}).rows('SELECT * FROM images')"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(6)]
        for process in started:
            process.stdout.readline()  # they begin at the same moment
        for process in started:
            process.stdin.close()
        assert [process.wait() for process in started] == [0] * 6
        for process in started:
            process.stdout.close()


def test_a_store_of_an_older_version_is_migrated(tmp_path):
    old, new = str(tmp_path / "old.sqlite"), str(tmp_path / "new.sqlite")
    conn = sqlite3.connect(old)
    conn.executescript(f"{database.SCHEMA}; PRAGMA user_version = 1")
    conn.close()
    found = []
    for path in (old, new):
        opened = Database(path)
        assert opened.row("PRAGMA user_version") == (VERSION,)
        found.append(opened.rows("SELECT type, name FROM sqlite_master ORDER BY type, name"))
        opened.close()
    assert found[0] == found[1]


def test_a_store_of_a_newer_version_is_refused(tmp_path):
    path = str(tmp_path / "db.sqlite")
    Database(path).close()
    conn = sqlite3.connect(path)
    conn.execute(f"PRAGMA user_version = {VERSION + 1}")
    conn.close()
    with pytest.raises(StoreError, match=f"version {VERSION + 1}") as caught:
        Database(path)
    assert "upgrade" in caught.value.hint


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "db.sqlite").write_bytes(b"something else entirely" * 100)
    with pytest.raises(StoreError, match=r"db\.sqlite: not a usable database"):
        Database(str(tmp_path / "db.sqlite"))


def test_a_writer_that_never_ends_is_waited_for_and_then_named(db, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    other = Database(db.path)
    with db.transaction(), pytest.raises(StoreBusy, match="another process"), other.transaction():
        pass
    other.close()


@pytest.mark.root
def test_a_full_disk_is_named_and_leaves_the_last_state(tiny_disk):
    db = Database(f"{tiny_disk}/db.sqlite")
    add(db, "before")
    with pytest.raises(StoreFull, match="no space left") as caught, db.transaction():
        for number in range(100_000):
            add(db, f"{number:0200}")
    assert caught.value.hint
    assert names(db) == ["before"]
    db.close()
    again = Database(f"{tiny_disk}/db.sqlite")
    assert names(again) == ["before"]
    again.close()


@pytest.mark.root
def test_opening_on_a_full_disk_says_so(tiny_disk):
    fill(tiny_disk)
    with pytest.raises(StoreFull):
        Database(f"{tiny_disk}/db.sqlite")


def test_imported_first_it_leaves_functools_for_others_to_import_whole(db):
    code = (
        "import sys; from buildlib.database import Database; db = Database(sys.argv[1])\n"
        "assert [db.row('SELECT ?', (n,)) for n in (1, 2)] == [(1,), (2,)]\n"
        "print('functools' in sys.modules)\n"
        "import functools, sqlite3; print(functools.cache, sqlite3.connect(':memory:').execute('SELECT 3').fetchone())"
    )
    ran = subprocess.run([sys.executable, "-S", "-c", code, db.path], stdout=subprocess.PIPE, text=True, check=True,
                         env={"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    before, after = ran.stdout.splitlines()
    assert before == "False"
    assert after.startswith("<function cache") and after.endswith("(3,)")
