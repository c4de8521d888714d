"""A command run apart from the host: a runtime spec becomes a plan of small steps, which a child then takes.

``plan`` is pure: it turns a :class:`~buildlib.oci.runtime.RuntimeSpec` into frozen ops, each of which can say what it
does. ``launcher.launch`` forks the child that executes them in order and becomes the command, and waits. Nothing here
knows of layers, images or stores: it is given a directory and a spec.
"""
