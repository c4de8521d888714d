"""``buildlib-runtime``: the sandbox behind the command line of an OCI runtime, so that engines can use it as theirs.

One module a verb, imported when it is asked for. A container here is a bundle that is run: a root file system and a
``config.json`` (runtime-spec 1.2). Nothing here knows of images or stores. A cold start of this program is what an
engine waits for, so no module imports what it does not need.
"""
