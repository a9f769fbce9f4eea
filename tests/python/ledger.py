"""What a writer keeps of its operations: what it means to do, before it does it, and what came of it.

A ledger is a file of JSON lines that `tests/src/lancedb/ledger.rs` reads. Each operation has two:

    {"op": 7, "stamp": 20000007, "put": [1, 2, 3]}   rows that will be there, each with this stamp; or
    {"op": 7, "drop": [1, 2, 3]}                     rows that will be gone; or neither, for what changes no row
    {"op": 7, "at": 1764000000.5, "seconds": 0.012}  when it began; and "error", when the client was told of one
"""

import json
import sys
import time


class Ledger:
    """One writer's operations. No two writers put or drop the same row."""

    def __init__(self, path, writer):
        self.file = open(path, "w", encoding="utf-8", buffering=1)
        self.stamps = writer * 10_000_000
        self.op = 0

    def put(self, ids, write):
        """Rows are written: `write` is given the stamp that they must have."""
        stamp = self.stamps + self.op + 1
        self._run({"stamp": stamp, "put": ids}, lambda: write(stamp))

    def drop(self, ids, delete):
        """Rows are deleted."""
        self._run({"drop": ids}, delete)

    def note(self, work):
        """Something is done that changes no row."""
        self._run({}, work)

    def _run(self, meant, work):
        self.op += 1
        self._line({"op": self.op, **meant})
        told = {"op": self.op, "at": time.time()}
        begun = time.perf_counter()
        try:
            work()
        except Exception as error:  # whatever the client is told of is counted
            told["error"] = f"{type(error).__name__}: {error}"
        told["seconds"] = time.perf_counter() - begun
        self._line(told)

    def _line(self, line):
        self.file.write(json.dumps(line) + "\n")


def wait_for_go():
    """Says that this program is ready, and waits until all others are."""
    print("ready", flush=True)
    if not sys.stdin.readline():
        sys.exit("nobody said go")
