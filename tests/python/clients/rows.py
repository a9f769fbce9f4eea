"""Rows of the tables, the same for every version of the packages: each value follows from the row's id and a stamp, which
tells what wrote the row last."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa

DIM = 16
DAY = dt.date(2020, 1, 1)
NOON = dt.datetime(2020, 1, 1, 12)
UTC = dt.timezone.utc
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove")


def vector(i, stamp=0):
    """A point that no other row has."""
    angles = (i + 1 + 0.37 * stamp) * np.sqrt(np.arange(2, DIM + 2))
    return np.sin(angles).astype(np.float32).tolist()


def text(i, stamp=0):
    """One word that all rows have, one that a seventh has, one of this row, and a pair that is a phrase."""
    word = WORDS[(i + stamp) % 7]
    return f"common {word} row{i}x{stamp} north {'wind' if (i + stamp) % 4 else 'star'}"


# Each column as its type and the value of a row.
COMMON = {
    "id": (pa.int64(), lambda i, s: i),
    "stamp": (pa.int64(), lambda i, s: s),
    "num": (pa.int32(), lambda i, s: None if i % 29 == 4 else (i + 5 * s) % 97),
    "name": (pa.string(), lambda i, s: f"n{(i + s) % 41}"),
    "at": (pa.timestamp("us"), lambda i, s: NOON + dt.timedelta(hours=i % 200 + s)),
    "cat": (pa.string(), lambda i, s: f"c{(i + s) % 5}"),
    "tags": (pa.list_(pa.string()), lambda i, s: [f"t{(i + s) % 7}", f"u{i % 3}"]),
    "text": (pa.string(), text),
    "vector": (pa.list_(pa.float32(), DIM), vector),
}


def _or_null(value):
    """Every ninth value is null."""
    return lambda i, s: None if i % 9 == 2 else value(i + s)


# The common types, but for those above. Not all versions have them all: `capabilities.py` finds out.
TYPED = {
    "int8": (pa.int8(), lambda n: n % 100 - 50),
    "int16": (pa.int16(), lambda n: n % 1000 - 500),
    "int64": (pa.int64(), lambda n: n * 10**12),
    "uint8": (pa.uint8(), lambda n: n % 200),
    "uint16": (pa.uint16(), lambda n: n % 60_000),
    "uint32": (pa.uint32(), lambda n: n % 50 + 3 * 10**9),
    "uint64": (pa.uint64(), lambda n: n % 50 + 10**15),
    "half": (pa.float16(), lambda n: np.float16(n % 64 / 4)),
    "single": (pa.float32(), lambda n: n % 64 / 4),
    "double": (pa.float64(), lambda n: n % 64 / 8),
    "flag": (pa.bool_(), lambda n: n % 3 == 0),
    "word": (pa.string(), lambda n: f"w{n % 37}"),
    "large_word": (pa.large_string(), lambda n: f"l{n % 37}"),
    "bytes": (pa.binary(), lambda n: bytes([n % 251] * (n % 5))),
    "large_bytes": (pa.large_binary(), lambda n: bytes([n % 251] * 3)),
    "fixed_bytes": (pa.binary(4), lambda n: (n % 50).to_bytes(4, "big")),
    "day": (pa.date32(), lambda n: DAY + dt.timedelta(days=n % 50)),
    "day64": (pa.date64(), lambda n: DAY + dt.timedelta(days=n % 50)),
    "second": (pa.timestamp("s"), lambda n: NOON + dt.timedelta(seconds=n % 50)),
    "nano": (pa.timestamp("ns"), lambda n: NOON + dt.timedelta(microseconds=n % 50)),
    "zoned": (pa.timestamp("us", tz="UTC"), lambda n: NOON.replace(tzinfo=UTC) + dt.timedelta(hours=n % 50)),
    "clock32": (pa.time32("s"), lambda n: dt.time(n % 24, n % 60)),
    "clock64": (pa.time64("us"), lambda n: dt.time(n % 24, n % 60, 1, n % 50)),
    "span": (pa.duration("ms"), lambda n: dt.timedelta(seconds=n % 50)),
    "price": (pa.decimal128(12, 2), lambda n: Decimal(n % 50).scaleb(-2) + 7),
    "big_price": (pa.decimal256(50, 3), lambda n: Decimal(n % 50).scaleb(-3) + 10**30),
    "code": (pa.dictionary(pa.int32(), pa.string()), lambda n: f"d{n % 23}"),
    "short_code": (pa.dictionary(pa.int8(), pa.string()), lambda n: f"s{n % 19}"),
    "ints": (pa.list_(pa.int64()), lambda n: list(range(n % 4))),
    "large_list": (pa.large_list(pa.float32()), lambda n: [n % 8 / 2.0]),
    "nested_list": (pa.list_(pa.list_(pa.int32())), lambda n: [[n % 8], [], [1, 2]]),
    "point": (
        pa.struct([("x", pa.float64()), ("name", pa.string())]),
        lambda n: {"x": n % 16 / 2, "name": f"p{n % 9}"},
    ),
    "people": (
        pa.list_(pa.struct([("who", pa.string()), ("age", pa.int32())])),
        lambda n: [{"who": f"q{n % 9}", "age": n % 90}] * (n % 3),
    ),
    "deep": (
        pa.struct([("inner", pa.struct([("n", pa.int32())])), ("tags", pa.list_(pa.string()))]),
        lambda n: {"inner": {"n": n % 70}, "tags": [f"i{n % 5}"]},
    ),
    "pair": (pa.list_(pa.int32(), 2), lambda n: [n % 40, -1]),
    "triple": (pa.list_(pa.float64(), 3), lambda n: [n % 8 / 2, 0.0, 1.0]),
    "nothing": (pa.null(), lambda n: None),
}


def typed(name, nulls):
    """A column of `TYPED` in the shape of `COMMON`, with nulls or without."""
    type_, value = TYPED[name]
    return type_, _or_null(value) if nulls else lambda i, s: value(i + s)


def batch(columns, ids, stamp=0):
    """An Arrow table of these rows."""
    ids = list(ids)
    arrays = [
        pa.array([value(i, stamp) for i in ids], type_) for type_, value in columns.values()
    ]
    return pa.table(arrays, names=list(columns))


def plain(value):
    """A value of Arrow's as Python's own, the same for each version of Arrow."""
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def content(table):
    """The rows of an Arrow table, as dictionaries."""
    return [plain(row) for row in table.to_pylist()]
