"""Tables as programs have them, written and searched as fast as it goes.

    tables.py seed   URI COUNT                       makes so many tables
    tables.py write  URI LEDGERS SECONDS TABLE...    appends to, upserts into and deletes from these tables in turn; the
                                                     ledger of each is LEDGERS/TABLE
    tables.py search URI LEDGER SECONDS TABLE...     searches these tables in turn; what it finds must be right
    tables.py check  URI TABLE...                    every search once, on every table

Each table has two parts. The stable rows are there from the beginning and nobody changes them: what is asked of them is known,
and is compared with an answer that no index has a part in. The others come and go far away from them: their vectors are
long, and their words are different.
"""

import os
import sys
import time
from datetime import timedelta

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import FTS, BTree, IvfFlat, IvfPq

from ledger import Ledger, wait_for_go

STABLE = 1_000
WIDTH = 32
WORDS = 50
FOUND = 10
PARTITIONS = 3
FIRST_MOVING = 1_000_000
# What each table is written at least, however slow the machine is: enough for every kind of maintenance.
TURNS = 120


def rows(ids, stamp):
    """Rows as the tables have them; all but the stamp follows from the id."""
    ids = np.asarray(ids, dtype=np.int64)
    stable = ids < FIRST_MOVING
    vectors = np.sin(np.outer(ids % 10_007 + 1, np.arange(1, WIDTH + 1)) * 0.37)
    vectors[~stable] += 100
    text = [f"stable w{n % WORDS}" if s else f"moving m{n % WORDS}" for n, s in zip(ids, stable)]
    return pa.table(
        {
            "id": ids,
            "stamp": np.full(len(ids), stamp, dtype=np.int64),
            "text": text,
            "vector": pa.FixedSizeListArray.from_arrays(vectors.astype(np.float32).ravel(), WIDTH),
        }
    )


def connect(uri):
    """Every read sees the newest version."""
    return lancedb.connect(uri, read_consistency_interval=timedelta(0))


def seed(uri, count):
    for n in range(int(count)):
        table = lancedb.connect(uri).create_table(f"table_{n}", rows(range(STABLE), 0))
        table.create_index("id", config=BTree())
        table.create_index("text", config=FTS())
        kind = IvfFlat if n % 2 == 0 else IvfPq
        table.create_index("vector", config=kind(num_partitions=PARTITIONS))


class Writer:
    """What one program does to one table: nobody else writes it."""

    def __init__(self, table, path, number):
        self.table = table
        self.ledger = Ledger(path, number + 1)
        self.random = np.random.default_rng(number)
        self.next = FIRST_MOVING
        self.alive = []

    def work(self):
        [self.append, self.upsert, self.append, self.delete][self.ledger.op % 4]()

    def append(self):
        ids = self._fresh(20)
        self.ledger.put(ids, lambda stamp: self.table.add(rows(ids, stamp)))
        self.alive += ids

    def upsert(self):
        fresh = self._fresh(5)
        ids = self._some(15) + fresh
        merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        self.ledger.put(ids, lambda stamp: merge.execute(rows(ids, stamp)))
        self.alive += fresh

    def delete(self):
        ids = self._some(20)
        self.ledger.drop(ids, lambda: self.table.delete(f"id IN ({', '.join(map(str, ids))})"))
        gone = set(ids)
        self.alive = [n for n in self.alive if n not in gone]

    def _fresh(self, count):
        ids = list(range(self.next, self.next + count))
        self.next += count
        return ids

    def _some(self, count):
        count = min(count, len(self.alive))
        return self.random.choice(self.alive, count, replace=False).tolist()


class Answers:
    """What searches over the stable rows must find, worked out by hand."""

    def __init__(self):
        self.random = np.random.default_rng(4)
        stable = rows(range(STABLE), 0)
        self.vectors = np.stack(stable["vector"].to_numpy())

    def nearest(self, table):
        """All partitions are asked, and all rows looked at again: so the answer is exact. A product quantizer that was
        trained on the stable rows takes the others for near ones, all of them."""
        query = self.vectors[self.random.integers(STABLE)] + self.random.normal(0, 0.1, WIDTH)
        query = query.astype(np.float32)
        distances = ((self.vectors - query) ** 2).sum(axis=1)
        factor = table.count_rows() // FOUND + 1
        search = table.search(query).nprobes(PARTITIONS).refine_factor(factor)
        found = search.select(["id"]).limit(FOUND).to_arrow()["id"].to_pylist()
        self._same("the nearest rows", found, np.argsort(distances)[:FOUND].tolist())

    def word(self, table):
        word = int(self.random.integers(WORDS))
        search = table.search(f"w{word}", query_type="fts").select(["id"]).limit(STABLE)
        found = sorted(search.to_arrow()["id"].to_pylist())
        self._same(f"rows with the word w{word}", found, list(range(word, STABLE, WORDS)))

    def lookup(self, table):
        ids = sorted(self.random.choice(STABLE, FOUND, replace=False).tolist())
        search = table.search().where(f"id IN ({', '.join(map(str, ids))})").select(["id"])
        found = sorted(search.limit(STABLE).to_arrow()["id"].to_pylist())
        self._same("rows by id", found, ids)

    def all(self, table):
        self.nearest(table)
        self.word(table)
        self.lookup(table)

    @staticmethod
    def _same(what, found, wanted):
        if found != wanted:
            raise AssertionError(f"{what}: found {found}, not {wanted}")


def until(seconds, work, at_least=0):
    wait_for_go()
    end = time.monotonic() + float(seconds)
    turn = 0
    while turn < at_least or time.monotonic() < end:
        work(turn)
        turn += 1


def main():
    what, uri, *rest = sys.argv[1:]
    if what == "seed":
        return seed(uri, *rest)
    if what == "check":
        answers = Answers()
        for name in rest:
            answers.all(connect(uri).open_table(name))
        return None
    path, seconds, *names = rest
    tables = [connect(uri).open_table(name) for name in names]
    if what == "write":
        writers = [
            Writer(table, os.path.join(path, table.name), int(table.name.removeprefix("table_")))
            for table in tables
        ]
        work = lambda turn: writers[turn % len(writers)].work()
        return until(seconds, work, TURNS * len(writers))
    ledger, answers = Ledger(path, 0), Answers()
    return until(seconds, lambda turn: ledger.note(lambda: answers.all(tables[turn % len(tables)])))


main()
