"""Tables that others read: branches, a clone, tags, a computed column. By real clients, in one directory.

    references.py make ROOT     makes them, and writes on until everything that they read is old
    references.py ask  ROOT     everything can be read as it was made
"""

import sys

import lance
import lancedb
import pyarrow as pa

ROWS = 100


def rows(first):
    return pa.table({"id": range(first, first + ROWS)})


def make(root):
    uri = f"{root}/t.lance"
    lance.write_dataset(rows(0), uri)
    for n in range(1, 5):
        lance.write_dataset(rows(n * ROWS), uri, mode="append")
    table = lance.dataset(uri)
    table.create_branch("exp", 3)
    table.create_branch("inner", ("exp", None))
    table.tags.create("audit", 2)
    table.shallow_clone(f"{root}/clone.lance", 4)
    lance.dataset(uri).optimize.compact_files()
    lance.write_dataset(rows(0), uri, mode="overwrite")
    computed = lancedb.connect(root).create_table("computed", [{"x": i} for i in range(50)])
    computed.add_columns(computed={"d": "x*2"})
    computed.refresh_column("d")
    for n in range(40):
        computed.add([{"x": 100 + n}])


def ask(root):
    table = lance.dataset(f"{root}/t.lance")
    found = {
        "exp": table.checkout_version(("exp", None)).to_table().num_rows,
        "inner": table.checkout_version(("inner", None)).to_table().num_rows,
        "audit": table.checkout_version("audit").to_table().num_rows,
        "clone": lance.dataset(f"{root}/clone.lance").to_table().num_rows,
        "newest": table.to_table().num_rows,
    }
    wanted = {"exp": 3, "inner": 3, "audit": 2, "clone": 4, "newest": 1}
    assert found == {name: n * ROWS for name, n in wanted.items()}, found
    computed = lancedb.connect(root).open_table("computed")
    computed.refresh_column("d")
    bad = [row for row in computed.to_arrow().to_pylist() if row["d"] != 2 * row["x"]]
    assert not bad, bad[:3]


if __name__ == "__main__":
    {"make": make, "ask": ask}[sys.argv[1]](sys.argv[2])
