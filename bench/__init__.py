"""buildlib and buildah side by side: whole processes, interleaved, on a fresh file system. Standard library only."""
