"""The tables: which kinds there are, and how each is made."""

import lancedb

import capabilities
import rows
from model import Model
from questions import connect

# Rows that are there when the indexes are made, in so many fragments, and rows that come afterwards.
FIRST, FRAGMENTS = 600, 5
LATER, APPENDS = 90, 3

# Each kind of table by its indexes, column by column.
KINDS = {
    "scalar": {"id": "BTREE", "num": "BTREE", "name": "BTREE", "at": "BTREE", "cat": "BITMAP", "tags": "LABEL_LIST"},
    "words": {"text": "FTS"},
    "phrases": {"text": "FTS with positions"},
    "flat": {"vector": "IVF_FLAT"},
    "pq": {"vector": "IVF_PQ"},
    "hnsw": {"vector": "IVF_HNSW_SQ"},
    "rq": {"vector": "IVF_RQ"},
    "types": {"id": "BTREE"},
    "whole": {"id": "BTREE", "cat": "BITMAP", "tags": "LABEL_LIST", "text": "FTS with positions", "vector": "IVF_PQ"},
}  # fmt: skip

# Storage versions, with and without stable row ids. These have nothing to do with each other, so not every pair is tried.
VARIANTS = {
    "v20": {"storage": "2.0", "stable": False},
    "v21": {"storage": "2.1", "stable": False},
    "v21s": {"storage": "2.1", "stable": True},
    # What the version takes by itself, where that is none of these.
    "vdefault": {"storage": None, "stable": False},
}

# What the versions can do, once it was found out, by storage version.
_known = {}


def variants(root):
    """Makes a small table for each way to make one, by storage version and with or without stable row ids. Whether a
    version really does as it is told is told by what it wrote."""
    db = connect(root)
    columns = {"id": rows.COMMON["id"]}
    made = {}
    old = tuple(map(int, lancedb.__version__.split(".")[:2])) < (0, 25)
    for name, options in VARIANTS.items():
        # Storage version 2.1 was not finished then: what they write as such no later Lance reads, whoever maintains it.
        if old and options["storage"] == "2.1":
            continue
        try:
            capabilities.create(db, name, rows.batch(columns, range(5)), options)
        except Exception:  # A version that knows no such option has no such table.
            continue
        made[name] = options
    return made


def make(root, name, kind, options):
    """Makes a table: fragments under its indexes, of which rows are deleted and updated, and fragments outside of them."""
    model = Model(kind, options, {}, {})
    filters = {}
    if kind == "types":
        storage = options["storage"]
        if storage not in _known:
            _known[storage] = capabilities.typed_columns(options)
        model.columns, filters = _known[storage]
    table = None
    for _ in range(FRAGMENTS):
        batch = model.batch(model.fresh(FIRST // FRAGMENTS))
        if table is None:
            table = capabilities.create(connect(root), name, batch, options)
        else:
            table.add(batch)
        model.put(batch)
    for column, index in KINDS[kind].items():
        create_index(table, column, index)
        model.indexes[column] = index
    for column, (index, *question) in filters.items():
        create_index(table, column, index)
        model.indexes[column] = index
        model.filters.append((question[0], column, *question[1:]))
    # Every kind of change, in some of the fragments: at rest a fifth of the rows is gone.
    table.delete("id % 5 = 1 AND id < 480")
    model.rows = {i: r for i, r in model.rows.items() if not (i % 5 == 1 and i < 480)}
    for _ in range(APPENDS):
        batch = model.batch(model.fresh(LATER // APPENDS), model.stamp())
        table.add(batch)
        model.put(batch)
    model.save(root, name)
    return {"indexes": model.indexes, "columns": model.columns, "filters": list(filters)}


def create_index(table, column, index):
    """Makes one index, or makes it anew."""
    kind = index.split()[0]
    if kind == "FTS":
        table.create_fts_index(column, use_tantivy=False, with_position="positions" in index, replace=True)
    elif column == "vector":
        options = {"num_partitions": 3, "vector_column_name": "vector", "index_type": kind}
        if kind == "IVF_PQ":
            options["num_sub_vectors"] = 4
        table.create_index(metric="l2", **options)
    else:
        table.create_scalar_index(column, index_type=kind, replace=True)
