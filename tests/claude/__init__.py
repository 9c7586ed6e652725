"""Sessions of the real Claude Code with a scripted model."""
