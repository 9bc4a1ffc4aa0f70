"""How commands reach the server: scripts, executors, connections."""
