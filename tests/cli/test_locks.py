"""Locks between processes."""

import os
import signal
import subprocess
import sys
import threading
import time

from places import PROJECT

from frcnn.cli.locks import locked

CHILD = """
import sys, time
from frcnn.cli.locks import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_at_a_time(tmp_path):
    path, inside, most = tmp_path / "new" / "a.lock", [], []

    def work():
        with locked(path):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4 and path.is_file()


def test_it_is_free_after_an_error(tmp_path):
    waited = []
    for _ in range(2):
        try:
            with locked(tmp_path / "a.lock", lambda: waited.append(1)):
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
    assert not waited


def test_it_ends_with_its_process(tmp_path):
    """The process is killed, so that it cannot release anything itself."""
    path, waited = tmp_path / "a.lock", []
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], cwd=PROJECT, text=True,
                               stdout=subprocess.PIPE)

    def kill():
        waited.append(1)
        os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()

    try:
        assert process.stdout.readline() == "held\n"
        with locked(path, kill):
            pass
    finally:
        process.kill()
        process.communicate()
    assert waited == [1]
