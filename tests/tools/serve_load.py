"""Load on a server of `frcnn serve`, and its end in the middle of that.

    python tests/tools/serve_load.py http://127.0.0.1:8000 PID SECONDS IMAGE...

Every answer is compared with the first one to the same image. Then SIGTERM is sent while all
clients wait for answers; those to requests that had been sent before must arrive.
"""

import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np

CLIENTS = 8
# How often memory is looked at, in seconds.
STEP = 1.0


class Load:
    """Clients that send images all the time.

    Args:
        address: of the server.
        images: `{name: content}`.

    Attributes:
        expected: the answer to each image alone, by name.
        times: seconds of each answer.
        waits: answers that told to come again.
        wrong: what was wrong, as text.
        memory: resident bytes of the server, from time to time.
        begun: (start, whether an answer came, what came instead) of each request.
    """

    def __init__(self, address, images):
        self.address, self.images = address, dict(images)
        self.expected, self.times, self.waits, self.wrong, self.memory = {}, [], 0, [], []
        self.begun, self._is_over = [], threading.Event()
        with httpx.Client(base_url=address, timeout=300) as client:
            for name in self.images:
                answer = self._ask(client, name)
                answer.raise_for_status()
                self.expected[name] = answer.json()

    def _ask(self, client, name):
        return client.post("/v1/detect", params={"min_score": 0},
                           files={"file": (name, self.images[name])})

    def run(self, seconds, pid=None):
        """Sends images for some seconds; with the id of the server's process, ends it then."""
        threads = [threading.Thread(target=self._send, args=(seed,)) for seed in range(CLIENTS)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.memory.append(self.resident())
            time.sleep(STEP)
        ended = time.monotonic()
        if pid is None:
            self._is_over.set()
        else:
            os.kill(pid, signal.SIGTERM)
        for thread in threads:
            thread.join()
        return ended

    def resident(self):
        """Bytes of the server's memory."""
        text = httpx.get(f"{self.address}/metrics", timeout=60).text
        return float(re.search(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)[1])

    def _send(self, seed):
        random = np.random.default_rng(seed)
        names = list(self.images)
        with httpx.Client(base_url=self.address, timeout=300) as client:
            while not self._is_over.is_set():
                name = names[random.integers(len(names))]
                begin = time.monotonic()
                try:
                    answer = self._ask(client, name)
                except httpx.TransportError as error:
                    self.begun.append((begin, False, repr(error)))
                    if not isinstance(error, httpx.ConnectError):
                        continue  # the next one shows whether it is gone
                    return
                self.begun.append((begin, True, ""))
                if answer.status_code in (429, 503):
                    self.waits += 1
                    time.sleep(float(answer.headers["retry-after"]))
                    continue
                self.times.append(time.monotonic() - begin)
                if answer.status_code != 200:
                    self.wrong.append(f"{name}: {answer.status_code} {answer.text}")
                else:
                    self._compare(name, answer.json())

    def _compare(self, name, answer):
        """Whether an answer is that to the same image alone, to what is promised of float32."""
        one, other = answer["detections"], self.expected[name]["detections"]
        if answer["image"] != self.expected[name]["image"] or len(one) != len(other):
            self.wrong.append(f"{name}: {len(one)} instead of {len(other)} detections")
            return
        for key, tolerance in (("box", 0.01), ("score", 1e-4), ("class_id", 0)):
            pair = [np.array([found[key] for found in side]) for side in (one, other)]
            if not np.allclose(*pair, rtol=0, atol=tolerance):
                self.wrong.append(f"{name}: another {key}")


def lost(load, ended):
    """The requests that had been sent before the end and got no answer."""
    return [what for begin, is_answered, what in load.begun if begin < ended and not is_answered]


def main(address, pid, seconds, *paths):
    """Prints what happened."""
    load = Load(address, {Path(path).name: Path(path).read_bytes() for path in paths})
    ended = load.run(float(seconds), int(pid))
    memory = np.array(load.memory) / 1e6
    print(f"{len(load.times)} answers, {len(load.wrong)} wrong, {load.waits} told to wait, "
          f"{len(lost(load, ended))} lost at SIGTERM; {len(load.times) / float(seconds):.2f} a "
          f"second, median {np.median(load.times):.2f} s, longest {max(load.times):.2f} s")
    print(f"memory in MB: {memory[0]:.0f} at first, median of the quarters "
          f"{[round(float(np.median(part))) for part in np.array_split(memory, 4)]}, "
          f"{memory.max():.0f} at most")
    print(*load.wrong[:5], *lost(load, ended)[:5], sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
