"""Says which version of its one dependency it found."""

from importlib.metadata import version

print("attrs", version("attrs"))
