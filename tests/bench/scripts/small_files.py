import json

import pandas


def init():
    pass


def run(mini_batch):
    rows = []
    for path in mini_batch:
        with open(path, "rb") as file:
            found = json.load(file)
        rows.append((found["id"], found["user"], found["amount"], found["when"], len(found["body"])))
    return pandas.DataFrame(rows, columns=["id", "user", "amount", "when", "size"])
