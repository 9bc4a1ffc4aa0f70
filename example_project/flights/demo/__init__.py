"""The demo: its stage (folder and processes), what it watches, what it expects, and its verdict."""
