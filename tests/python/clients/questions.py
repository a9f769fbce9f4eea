"""The questions, and how their answers differ from what the model says.

An answer is the rows that are missing and the rows that are too many. A question whose answer is a matter of degree, as
which rows `fast_search` finds, is `relative`: what counts is that nothing more is missing than where nobody maintains the
table.
"""

import datetime as dt
import operator
from collections import Counter
from zlib import crc32

import lancedb

import rows

# More than any table has rows.
ALL = 5_000
# Enough that an approximate index looks at every row, and that every distance is computed from the vector itself.
PARTITIONS = 64
REFINE = 200
NEIGHBOURS = 5

OPERATORS = {"=": operator.eq, ">=": operator.ge, "<": operator.lt}


def connect(root, always_fresh=False):
    interval = dt.timedelta(0) if always_fresh else None
    return lancedb.connect(f"{root}/database", read_consistency_interval=interval)


def ask(root, name, model, live=None):
    """Asks everything of one table: how many questions there were, and the answers that are not the model's."""
    questions = Questions(connect(root).open_table, name, model, live)
    return {"asked": questions.asked, "bad": questions.bad}


def complaint(error):
    """An error in one line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) < 400 else f"{text[:240]} … {text[-150:]}"


def attempt(work):
    """The error that it ended with. A panic of a client's own code is one, too."""
    try:
        work()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return complaint(error)
    return None


def phrase_query():
    """The class for phrases, where this version has one."""
    try:
        from lancedb.query import PhraseQuery
    except ImportError:
        return None
    return PhraseQuery


def token(row):
    """A row in short."""
    return f"{row['id']}:{crc32(repr(sorted(row.items())).encode()):08x}"


class Questions:
    def __init__(self, open_table, name, model, live):
        self.asked = 0
        self.bad = {}
        self.model = model
        self.kinds = {}
        for column, kind in model.indexes.items():
            self.kinds[kind.split()[0]] = column
        self.table = None

        def opened():
            self.table = open_table(name)
            return []

        self._same("open", opened, [])
        if self.table is None:
            return
        self._layout()
        self._filters()
        if "FTS" in self.kinds:
            self._words()
        if "vector" in model.indexes:
            self._vectors()
        if live is not None:
            # A handle that was opened before anybody maintained the table.
            self._same("live: ids", lambda: self._where("id >= 0", live), list(model.rows))

    def _same(self, name, question, wanted, relative=False):
        """Asks a question, and notes what its answer lacks and what it has too much."""
        self.asked += 1
        found = []
        error = attempt(lambda: found.extend(question()))
        found, wanted = Counter(found), Counter(wanted)
        missing, extra = [list((a - b).elements()) for a, b in ((wanted, found), (found, wanted))]
        if error is not None:
            self.bad[name] = {"error": error, "relative": relative}
        elif missing or extra:
            as_text = lambda answer: sorted(map(str, answer))
            self.bad[name] = {
                "found": found.total(),
                "wanted": wanted.total(),
                "missing": as_text(missing),
                "extra": as_text(extra),
                "relative": relative,
            }

    def _layout(self):
        model, table = self.model, self.table
        self._same("count", lambda: [f"{table.count_rows()} rows"], [f"{len(model.rows)} rows"])
        self._same(
            "content",
            # Not `to_arrow()` of the table, which old versions end after ten rows.
            lambda: map(token, rows.content(table.search().limit(ALL).to_arrow())),
            map(token, model.rows.values()),
        )
        self._same("indexes", self._indexes, [f"{column}_idx on {column}" for column in model.indexes])
        for column in model.indexes:
            self._same(f"{column}_idx: rows outside", lambda c=column: self._outside(f"{c}_idx"), [], True)

    def _indexes(self):
        """The indexes by name. Old versions list one for each of its segments: that is no fault of a vector index, which
        every version reads and makes in segments itself, and one of any other, which has a single one for them."""
        found = [f"{i.name} on {','.join(i.columns)}" for i in self.table.list_indices()]
        vector = "vector_idx on vector"
        return [name for n, name in enumerate(found) if name != vector or found.index(name) == n]

    def _outside(self, index):
        """As many numbers as rows are outside of an index: more of them are a larger set."""
        stats = self.table.index_stats(index)
        if stats is None:
            raise LookupError(f"no statistics of {index}")
        return range(stats.num_unindexed_rows)

    def _where(self, sql, table=None):
        query = (table or self.table).search().where(sql).limit(ALL).select(["id"])
        return query.to_arrow()["id"].to_pylist()

    def _filter(self, sql, predicate):
        wanted = self.model.ids(predicate)
        self._same(sql, lambda: self._where(sql), wanted)
        self._same(f"count of {sql}", lambda: [self.table.count_rows(sql)], [len(wanted)])

    def _filters(self):
        has = self.model.indexes
        if "id" in has:
            middle = self.model.next_id // 2
            self._filter(f"id >= {middle} AND id < {middle + 90}", lambda r: middle <= r["id"] < middle + 90)
            self._filter("id IN (3, 300, 9999)", lambda r: r["id"] in (3, 300, 9999))
        if "num" in has:
            self._filter("num = 7", lambda r: r["num"] == 7)
            self._filter("num IS NULL", lambda r: r["num"] is None)
            self._filter("num < 9 AND cat = 'c3'", lambda r: r["num"] is not None and r["num"] < 9 and r["cat"] == "c3")
        if "name" in has:
            self._filter("name = 'n13'", lambda r: r["name"] == "n13")
        if "at" in has:
            noon = rows.NOON + dt.timedelta(hours=50)
            self._filter(f"at < timestamp '{noon}'", lambda r: r["at"] < noon)
        if "cat" in has:
            self._filter("cat = 'c1'", lambda r: r["cat"] == "c1")
            self._filter("cat IN ('c0', 'c9')", lambda r: r["cat"] in ("c0", "c9"))
        if "tags" in has:
            self._filter("array_has_any(tags, ['t1', 't4'])", lambda r: {"t1", "t4"} & set(r["tags"]))
            self._filter("array_has_all(tags, ['t2', 'u1'])", lambda r: {"t2", "u1"} <= set(r["tags"]))
        for sql, column, compare, value in self.model.filters:
            compare = OPERATORS[compare]
            self._filter(sql, lambda r, c=column: r[c] is not None and compare(r[c], value))

    def _fts(self, query, where=None, fast=False):
        search = self.table.search(query, query_type="fts").limit(ALL).select(["id"])
        if where:
            search = search.where(where, prefilter=True)
        if fast:
            search = search.fast_search()
        return search.to_arrow()["id"].to_pylist()

    def _words(self):
        has = lambda word: lambda r: word in r["text"].split()
        newest = self.model.rows[max(self.model.rows)]["text"].split()[2]
        oldest = self.model.rows[min(self.model.rows)]["text"].split()[2]
        for word in ("common", "cedar", "star", newest, oldest):
            self._same(f"text {word}", lambda w=word: self._fts(w), self.model.ids(has(word)))
        self._same(
            "text grove where stamp = 0",
            lambda: self._fts("grove", "stamp = 0"),
            self.model.ids(lambda r: has("grove")(r) and r["stamp"] == 0),
        )
        if hasattr(lancedb.query.LanceFtsQueryBuilder, "fast_search"):
            everybody = self.model.ids(lambda r: True)
            self._same("fast text common", lambda: self._fts("common", fast=True), everybody, True)
        phrase = phrase_query()
        if phrase and "positions" in self.model.indexes["text"]:
            for words in ("north wind", "north star", "star north"):
                wanted = self.model.ids(lambda r, w=words: w in r["text"])
                self._same(f"phrase {words}", lambda w=words: self._fts(phrase(w, "text")), wanted)

    def _near(self, query, k, where=None, fast=False):
        search = self.table.search(query, vector_column_name="vector").limit(k).select(["id"])
        search = search.nprobes(PARTITIONS).refine_factor(REFINE)
        if "HNSW" in self.model.indexes["vector"]:
            search = search.ef(ALL)
        if where:
            search = search.where(where, prefilter=True)
        if fast:
            search = search.fast_search()
        return search.to_arrow()["id"].to_pylist()

    def _vectors(self):
        model = self.model
        for point in (11.5, 333.25, 10_000.75):
            query = rows.vector(point)
            wanted = model.nearest(query, NEIGHBOURS)
            self._same(f"nearest to {point}", lambda q=query: self._near(q, NEIGHBOURS), wanted)
        query = rows.vector(77.5)
        wanted = model.nearest(query, NEIGHBOURS, lambda r: r["cat"] == "c2")
        self._same("nearest where cat = 'c2'", lambda: self._near(query, NEIGHBOURS, "cat = 'c2'"), wanted)
        known = sorted(model.rows)
        some = known[:: max(1, len(known) // 8)] + known[-2:]
        alone = lambda i, fast: self._near(model.rows[i]["vector"], 1, fast=fast)
        self._same("each row by its vector", lambda: (n for i in some for n in alone(i, False)), some)
        if hasattr(lancedb.query.LanceVectorQueryBuilder, "fast_search"):
            find = lambda: [i for i in some if alone(i, True) == [i]]
            self._same("fast: each row by its vector", find, some, True)
