"""The contended table: three programs that append, upsert and delete rows of one table.

    contended.py seed     URI                        makes the table
    contended.py append   URI LEDGER SECONDS REST    a writer; each has rows of its own, in the fragments of all
    contended.py upsert   URI LEDGER SECONDS REST
    contended.py delete   URI LEDGER SECONDS REST
    contended.py optimize URI LEDGER SECONDS REST    calls optimize() every second, as users do by hand

REST is how many seconds a writer rests between two operations. Without a rest the appends, which are quickest, come
first nearly always: Lance gives up on the others' commits after twenty lost races, whoever maintains the table.
"""

import sys
import time

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import FTS, BTree, IvfPq

from ledger import Ledger, wait_for_go

TABLE = "contended"
ROWS = 20_000
ROWS_PER_OPERATION = 10
WIDTH = 32
FIRST_APPENDED = 1_000_000


def rows(ids, stamp):
    """Rows as the table has them. The vector follows from the id."""
    ids = np.asarray(ids, dtype=np.int64)
    vectors = np.sin(np.outer(ids + 1, np.arange(1, WIDTH + 1))).astype(np.float32)
    return pa.table(
        {
            "id": ids,
            "stamp": np.full(len(ids), stamp, dtype=np.int64),
            "text": [f"row number{i} of many" for i in ids.tolist()],
            "vector": pa.FixedSizeListArray.from_arrays(vectors.ravel(), WIDTH),
        }
    )


def seed(uri):
    """One fragment, whose ids are under a BTree, its texts under a full-text index and its vectors under an IVF_PQ."""
    table = lancedb.connect(uri).create_table(TABLE, rows(range(ROWS), 0))
    table.create_index("id", config=BTree())
    table.create_index("text", config=FTS())
    table.create_index("vector", config=IvfPq(num_partitions=8, num_sub_vectors=8))


def append(table, ledger, random):
    """Ids that were never there."""
    first = FIRST_APPENDED + ledger.op * ROWS_PER_OPERATION
    ids = list(range(first, first + ROWS_PER_OPERATION))
    ledger.put(ids, lambda stamp: table.add(rows(ids, stamp)))


def upsert(table, ledger, random):
    """Random even ids, of which every other one is there in the beginning."""
    ids = (2 * random.choice(ROWS, ROWS_PER_OPERATION, replace=False)).tolist()
    merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    ledger.put(ids, lambda stamp: merge.execute(rows(ids, stamp)))


def delete(table, ledger, random):
    """Random odd ids of those that were there in the beginning."""
    ids = (2 * random.choice(ROWS // 2, ROWS_PER_OPERATION, replace=False) + 1).tolist()
    ledger.drop(ids, lambda: table.delete(f"id IN ({', '.join(map(str, ids))})"))


def optimize(table, ledger, random):
    """The table's own maintenance, of what is there now."""
    table.checkout_latest()
    ledger.note(table.optimize)


WORK = [append, upsert, delete, optimize]


def main():
    what, uri, *rest = sys.argv[1:]
    if what == "seed":
        return seed(uri)
    path, seconds, rest = rest
    work = next(work for work in WORK if work.__name__ == what)
    table = lancedb.connect(uri).open_table(TABLE)
    ledger = Ledger(path, writer=WORK.index(work) + 1)
    random = np.random.default_rng(WORK.index(work))
    wait_for_go()
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        begun = time.monotonic()
        work(table, ledger, random)
        if work is optimize:
            time.sleep(max(0.0, begun + 1 - time.monotonic()))
        else:
            time.sleep(float(rest))


main()
