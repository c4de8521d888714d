"""What a run gets beyond its container: binds, caches, secrets, files, and places to mount them on."""
