"""A small site of its own for the measurements that need no other folder."""
