"""The `__main__.py` of guest.pyz: `PYTHON guest.pyz serve CONTROL_FD PARENT_PID` is the fork server.

Exit codes: 2 for an interpreter that is too old or arguments that are wrong, else what the server says. Spelled so that
any Python 3, and 2.7, can at least read it and say what is the matter.
"""

import sys

if sys.version_info < (3, 8):
    version = sys.version.split()[0]
    sys.stderr.write("batchctl: scoring needs Python 3.8 or newer; %s is %s\n" % (sys.executable, version))
    sys.exit(2)

if __name__ == "__main__":
    import gc
    import importlib

    collecting = gc.isenabled()
    gc.disable()  # looking for garbage while modules are imported takes 4 ms and finds none
    sys.exit(importlib.import_module("_batchctl_guest.server").main(sys.argv[1:], collecting=collecting))
