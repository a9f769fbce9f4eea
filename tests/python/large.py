"""Tables of one fragment with large rows, of which a quarter is deleted.

    large.py URI alike ROWS BYTES     texts of so many bytes that take next to nothing on disk
    large.py URI wide ROWS BYTES      bytes that cannot be compressed, in the data file
    large.py URI beside ROWS BYTES    the same as blobs, which lie beside it
"""

import os
import sys

import lance
import pyarrow as pa
from lance import blob_array, blob_field

KINDS = {
    "alike": (pa.field("value", pa.string()), lambda n, size: pa.array([f"{n} " * (size // len(f"{n} "))])),
    "wide": (pa.field("value", pa.large_binary()), lambda _, size: pa.array([os.urandom(size)], pa.large_binary())),
    "beside": (blob_field("value"), lambda _, size: blob_array([os.urandom(size)])),
}


def main():
    uri, kind, rows, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    field, value = KINDS[kind]
    schema = pa.schema([pa.field("id", pa.int64()), field])
    batches = (pa.record_batch([pa.array([n]), value(n, size)], schema=schema) for n in range(rows))
    reader = pa.RecordBatchReader.from_batches(schema, batches)
    table = lance.write_dataset(reader, uri, data_storage_version="2.2")
    table.delete("id % 4 = 1")


main()
