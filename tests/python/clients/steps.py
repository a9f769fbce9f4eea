"""What a program does with its tables, one step after the other. Each step changes the model as it changes the table."""

import time

import tables
from questions import complaint

# What old versions say when somebody else's commit came first. They leave it to the program to try again.
CONFLICTS = ("conflict", "retry", "concurrent")
TRIES = 30
ROUNDS = 3


class Writer:
    """A program with one handle to a table, opened before anybody maintained it."""

    def __init__(self, table, model):
        self.table = table
        self.model = model
        # How often something had to be done again.
        self.again = 0

    def do(self, step):
        """Does a step, and tells of the error that it ended with."""
        try:
            getattr(self, step)()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # A client's panic is an error, too.
            return complaint(error)
        return None

    def _write(self, work):
        for turn in range(TRIES):
            try:
                return work()
            except Exception as error:
                text = str(error).lower()
                if turn + 1 == TRIES or not any(word in text for word in CONFLICTS):
                    raise
                self.again += 1
                time.sleep(0.1)
                self.table.checkout_latest()

    def add(self, count=12):
        batch = self.model.batch(self.model.fresh(count), self.model.stamp())
        self._write(lambda: self.table.add(batch))
        self.model.put(batch)

    def delete(self, remainder=3, modulus=11):
        self._write(lambda: self.table.delete(f"id % {modulus} = {remainder}"))
        rows = self.model.rows
        self.model.rows = {i: r for i, r in rows.items() if i % modulus != remainder}

    def update(self, remainder=5, modulus=13):
        stamp = self.model.stamp()
        values = {"stamp": stamp, "num": 7, "cat": "c9", "text": f"common cedar again{stamp} north star"}
        self._write(lambda: self.table.update(where=f"id % {modulus} = {remainder}", values=values))
        for i, row in self.model.rows.items():
            if i % modulus == remainder:
                row.update(values)

    def merge(self, step=31):
        """Rows that are there with new values, and rows that are new."""
        known = sorted(self.model.rows)[:: step]
        batch = self.model.batch([*known, *self.model.fresh(5)], self.model.stamp())
        merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        self._write(lambda: merge.execute(batch))
        self.model.put(batch)

    def work(self):
        """Some rounds of all of it."""
        for turn in range(ROUNDS):
            self.add(9)
            self.delete(turn, 37)
            self.update(turn + 6, 41)
            self.merge(53)

    def optimize(self):
        self._write(self.table.optimize)

    def recreate(self):
        """Makes the last index of the table anew."""
        column, index = list(self.model.indexes.items())[-1]
        self._write(lambda: tables.create_index(self.table, column, index))
