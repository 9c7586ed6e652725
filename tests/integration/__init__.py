"""Whole parts on the real system: processes, files and sockets, without the real Claude Code."""
