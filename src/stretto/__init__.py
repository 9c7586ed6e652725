"""Stretto: transparent parallelism for Claude Code.

Importing the package costs nothing and starts nothing; the parts are `cli` (what a user calls), `daemon` (the supervisor) and the
two islands `client` (the hook) and `shim` (the intercepted command). docs/architecture.md draws the whole.
"""

__version__ = "0.2.0"
