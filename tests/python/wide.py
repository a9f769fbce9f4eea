"""A table of wide rows, in many fragments of which some rows are deleted.

    wide.py URI FRAGMENTS ROWS               so many fragments of so many rows, each with a vector of 2 KB; half of the
                                             fragments are under a BTree
    wide.py URI FRAGMENTS ROWS PARTITIONS    the same under an IVF_FLAT index of so many partitions
"""

import sys

import lance
import numpy as np
import pyarrow as pa

WIDTH = 512


def rows(fragment, count):
    ids = np.arange(fragment * count, (fragment + 1) * count, dtype=np.int64)
    # Random numbers: nothing about them can be compressed.
    vectors = np.random.default_rng(fragment).random(count * WIDTH, dtype=np.float32)
    return pa.table({"id": ids, "vector": pa.FixedSizeListArray.from_arrays(vectors, WIDTH)})


def index(table, partitions):
    if not partitions:
        return table.create_scalar_index("id", "BTREE")
    # Rows of the table itself for centroids: they need not be good ones, and training takes long.
    table.create_index(
        "vector",
        "IVF_FLAT",
        num_partitions=partitions[0],
        ivf_centroids=rows(0, partitions[0])["vector"].combine_chunks(),
    )


def main():
    uri, (fragments, count, *partitions) = sys.argv[1], map(int, sys.argv[2:])
    table = None
    for fragment in range(fragments):
        if fragment == (fragments + 1) // 2:
            index(table, partitions)
        table = lance.write_dataset(rows(fragment, count), uri, mode="append" if fragment else "create")
    table.delete("id % 7 = 0")


main()
