"""A client of the OCI distribution specification 1.1 (and so of Docker's registry API v2).

``auth`` decides, ``http`` sends, ``client`` has one method an endpoint, ``credentials`` and ``configuration`` read
the files that docker and containers tools share. Nothing here knows of images in a store.
"""
