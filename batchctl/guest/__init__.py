"""Our code inside the user's Python: standard library only, Python 3.8 and newer.

The host imports from here only `wire`, `page` and `plan_map` (the formats that both sides read) and `named_tuple`.
Everything else runs in the user's interpreter, shipped as one zip (`guest.pyz`). Nothing here imports the host.

`typing` is for type checkers alone (`TYPE_CHECKING = False`): every start waits for what is here, and it takes 2 ms.
"""
