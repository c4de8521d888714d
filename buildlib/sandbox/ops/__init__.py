"""The ops by subject: namespaces, mounts, the identity of the process, and the command itself."""
