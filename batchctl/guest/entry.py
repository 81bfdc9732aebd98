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
    import zipimport

    # What is asked for the modules of this zip. Python's own loads a module to tell its file, and once more to import
    # it: 2 ms. It reads the zip's list of files again whenever caches are invalidated, as each worker does: 2 ms.
    zipped = {"invalidate_caches": lambda self: None}
    module = dict(zipped, get_filename=lambda self, name: "%s/%s.py" % (self.archive, name.replace(".", "/")))
    for folder, how in ((sys.path[0], zipped), (sys.path[0] + "/_batchctl_guest", module)):
        sys.path_importer_cache[folder] = type("Zip", (zipimport.zipimporter,), how)(folder)
    collecting = gc.isenabled()
    gc.disable()  # looking for garbage while modules are imported takes 4 ms and finds none
    server = importlib.import_module("_batchctl_guest.server")
    with_room = importlib.import_module("_batchctl_guest.data_stack").call_with_room
    sys.exit(with_room(lambda: server.main(sys.argv[1:], collecting=collecting)))
