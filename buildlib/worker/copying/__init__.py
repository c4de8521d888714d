"""COPY and ADD: which files are meant, where they go, with what metadata, and the digest of all that.

``rules``, ``modes`` and ``owner`` are pure; ``select`` finds the sources beneath a root, ``walk`` goes through trees by
directory descriptors, ``digest`` hashes what ``transfer`` would write, and ``transfer`` writes it beneath another root.
Nothing here mounts, and nothing here knows of stores, containers or caches.
"""
