"""Command shapes: real command lines as an agent writes them, run as Claude Code runs them, natively and under Stretto."""
