"""Trees and tar archives of layers, both ways. It knows folders and descriptors, but no store and no image.

A *layer folder* is in the kernel's overlay form: a whiteout is a character device 0:0, an opaque directory carries the
``overlay.opaque`` xattr. A *layer archive* is the tar of the OCI image-layer spec, in which both are names that begin
with ``.wh.``. Parents are always listed base first.

From folder to archive: ``walk`` (the order), ``header`` (one entry), ``blocks`` (threads), ``writer.write_layer``,
``measure.measure`` and ``export``, ``compress``. From archive to folder: ``decompress``, ``feed`` (threads),
``fields``, ``sparse``, ``reader``, ``folders`` and ``unpack``, then ``apply.apply`` for layers and
``archive.extract_archive`` for all other archives. With the layers below: ``merged`` (look-ups),
``complete.complete``, ``diff.changes``, ``prune.prune_opaque``. ``squash.squash`` goes both ways at once.
"""
