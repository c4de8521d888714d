"""System calls that Python does not have, each as one function that raises ``OSError(errno, strerror, path)``.

The only package that touches ctypes. It knows kernel words (mounts, namespaces, capabilities) and none of ours.
"""
