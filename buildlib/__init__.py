"""Build container images from Python: no daemon, no container engine, no root needed."""
