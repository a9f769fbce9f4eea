"""What a version of the client can do by itself, found out by trying: columns of which types it keeps, which of them it
indexes and filters. What it cannot do without anybody's help is not asked of it."""

import shutil
import tempfile

import lancedb

import rows
from questions import ALL, OPERATORS, attempt

# Filters through an index of a typed column: kind of index, SQL, operator, and the value for Python.
FILTERS = {
    "int8": ("BITMAP", "int8 = 7"),
    "uint64": ("BTREE", f"uint64 >= {10**15 + 30}"),
    "single": ("BTREE", "single < 2.5"),
    "double": ("BTREE", "double >= 3.5"),
    "flag": ("BITMAP", "flag = true"),
    "word": ("BTREE", "word = 'w5'"),
    "day": ("BTREE", "day >= date '2020-02-01'"),
    "second": ("BTREE", "second < timestamp '2020-01-01 12:00:10'"),
    "nano": ("BTREE", "nano < timestamp '2020-01-01 12:00:00.00001'"),
    "fixed_bytes": ("BTREE", "fixed_bytes = X'00000005'"),
}


def value_of(column, row_number):
    return rows.plain(rows.typed(column, False)[1](row_number, 0))


# The value that each filter compares with, as the row of some number has it.
VALUES = {
    "int8": 57, "uint64": 30, "single": 10, "double": 28, "flag": 0, "word": 5, "day": 31,
    "second": 10, "nano": 10, "fixed_bytes": 5,
}  # fmt: skip


def create(db, name, data, options):
    """Makes a table as its options say: `storage`, where it is no default, and `stable` for stable row ids."""
    # All versions know these words, while most ignore the parameter `data_storage_version`.
    storage = {}
    if options["storage"]:
        storage["new_table_data_storage_version"] = options["storage"]
    if options["stable"]:
        storage["new_table_enable_stable_row_ids"] = "true"
    return db.create_table(name, data, storage_options=storage)


class Trial:
    """A table with one typed column, that is tried and thrown away."""

    def __init__(self, db, options):
        self.db = db
        self.options = options
        self.count = 0

    def keeps(self, column, nulls):
        """Whether rows come back as they were through all that the suite's programs do."""
        columns = {"id": rows.COMMON["id"], column: rows.typed(column, nulls)}

        def work():
            self.count += 1
            table = create(self.db, f"trial{self.count}", rows.batch(columns, range(40)), self.options)
            table.add(rows.batch(columns, range(40, 60)))
            table.delete("id % 10 = 3")
            merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(rows.batch(columns, range(55, 65), 1))
            table.update(where="id = 2", values={"id": 1002})
            table.optimize()
            wanted = rows.content(rows.batch(columns, range(55))) + rows.content(
                rows.batch(columns, range(55, 65), 1)
            )
            wanted = {r["id"]: r for r in wanted if r["id"] % 10 != 3 or r["id"] >= 60}
            wanted[1002] = wanted.pop(2) | {"id": 1002}
            found = rows.content(table.search().limit(ALL).to_arrow())
            if sorted(map(repr, found)) != sorted(map(repr, wanted.values())):
                raise AssertionError("other rows")

        return attempt(work) is None

    def filters(self, column, nulls):
        """Whether a column can be indexed and found by its index."""
        kind, sql = FILTERS[column]
        compare, value = OPERATORS[sql.split()[1]], value_of(column, VALUES[column])
        columns = {"id": rows.COMMON["id"], column: rows.typed(column, nulls)}

        def work():
            self.count += 1
            data = rows.batch(columns, range(300))
            table = create(self.db, f"trial{self.count}", data, self.options)
            table.create_scalar_index(column, index_type=kind)
            table.add(rows.batch(columns, range(300, 350)))
            table.optimize()
            found = table.search().where(sql).limit(ALL).select(["id"]).to_arrow()["id"].to_pylist()
            all_rows = rows.content(rows.batch(columns, range(350)))
            wanted = [r["id"] for r in all_rows if r[column] is not None and compare(r[column], value)]
            if not wanted or sorted(found) != wanted:
                raise AssertionError("other rows")

        return attempt(work) is None


def typed_columns(options):
    """The typed columns that this version keeps, and for each whether it keeps nulls; and filters by indexes on them."""
    folder = tempfile.mkdtemp(prefix="trial-")
    try:
        trial = Trial(lancedb.connect(folder), options)
        columns, filters = {}, {}
        for column in rows.TYPED:
            for nulls in (True, False):
                if trial.keeps(column, nulls):
                    columns[column] = nulls
                    break
        for column, (kind, sql) in FILTERS.items():
            if column in columns and trial.filters(column, columns[column]):
                filters[column] = (kind, sql, sql.split()[1], value_of(column, VALUES[column]))
        return columns, filters
    finally:
        shutil.rmtree(folder, ignore_errors=True)
