"""What a table must hold: kept beside it in plain Python, so that no question is answered by Lance alone."""

import pickle
from pathlib import Path

import numpy as np

import rows


class Model:
    """The rows of a table by id, and its indexes."""

    def __init__(self, kind, options, columns, indexes):
        self.kind = kind
        self.options = options
        # Names of typed columns, and whether they have nulls.
        self.columns = columns
        # Column -> kind of index.
        self.indexes = indexes
        # Further filters on typed columns that the client understands: (SQL, column, operator, value).
        self.filters = []
        self.rows = {}
        # The next id that nobody had, and the next stamp.
        self.next_id = 0
        self.next_stamp = 1

    def schema(self):
        """All columns, as `rows.batch` takes them."""
        return rows.COMMON | {name: rows.typed(name, nulls) for name, nulls in self.columns.items()}

    def batch(self, ids, stamp=0):
        return rows.batch(self.schema(), ids, stamp)

    def put(self, batch):
        for row in rows.content(batch):
            self.rows[row["id"]] = row

    def fresh(self, count):
        """Ids that nobody had."""
        ids = range(self.next_id, self.next_id + count)
        self.next_id += count
        return ids

    def stamp(self):
        self.next_stamp += 1
        return self.next_stamp - 1

    def ids(self, predicate):
        return sorted(i for i, row in self.rows.items() if predicate(row))

    def nearest(self, query, k, predicate=None):
        """The ids of the `k` rows that are nearest to a vector."""
        ids = self.ids(predicate or (lambda row: True))
        points = np.array([self.rows[i]["vector"] for i in ids], dtype=np.float64)
        distances = ((points - np.array(query, dtype=np.float64)) ** 2).sum(axis=1)
        return [ids[n] for n in np.argsort(distances, kind="stable")[:k]]

    def save(self, root, name):
        folder = Path(root, "models")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pickle.dumps(self))

    @staticmethod
    def load(root, name):
        return pickle.loads(Path(root, "models", name).read_bytes())
