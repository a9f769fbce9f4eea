"""A LanceDB program that does as it is told, and keeps book of what its tables must hold.

It reads one JSON object a line, and answers each with one. The driver is `tests/src/clients/`.

    {"do": "hello"}                                      the version of the package
    {"do": "variants", "root": R}                        small tables, one for each way to make one
    {"do": "make", "root": R, "table": T, "kind": K, "options": O}
    {"do": "open", "root": R, "table": T}                opens the handle that `step` uses from then on
    {"do": "step", "root": R, "table": T, "step": S}     one of `steps.py`
    {"do": "maintain", "root": R, "table": T}            `optimize()`, by somebody who writes nothing
    {"do": "ask", "root": R, "table": T}                 all questions of `questions.py`

`R/database` is the database, `R/models` has what its tables must hold.
"""

import datetime as dt
import json
import os
import sys
import warnings

import lancedb

import questions
import tables
from model import Model
from steps import Writer

warnings.simplefilter("ignore")


class Client:
    def __init__(self):
        self.writers = {}

    def hello(self):
        return {"version": lancedb.__version__}

    def variants(self, root):
        return tables.variants(root)

    def make(self, root, table, kind, options):
        return tables.make(root, table, kind, options)

    def open(self, root, table):
        self._writer(root, table)
        return {}

    def _writer(self, root, table):
        if (root, table) not in self.writers:
            handle = questions.connect(root, always_fresh=True).open_table(table)
            # It has seen the table as it was.
            handle.count_rows()
            self.writers[root, table] = Writer(handle, Model.load(root, table))
        return self.writers[root, table]

    def step(self, root, table, step):
        writer = self._writer(root, table)
        again = writer.again
        error = writer.do(step)
        writer.model.save(root, table)
        return {"error": error, "again": writer.again - again}

    def maintain(self, root, table):
        """All that a client has for maintenance, as a program calls it that writes nothing."""
        handle = questions.connect(root).open_table(table)
        second = dt.timedelta(seconds=1)
        return {"error": questions.attempt(lambda: handle.optimize(cleanup_older_than=second))}

    def ask(self, root, table):
        writer = self.writers.get((root, table))
        if writer is None:
            return questions.ask(root, table, Model.load(root, table))
        return questions.ask(root, table, writer.model, writer.table)


def main():
    # Whatever a package prints must not come between answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    client = Client()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(client, request.pop("do"))(**request)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            answer = {"failed": questions.complaint(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    # Old versions abort when Python ends in order.
    os._exit(0)


main()
