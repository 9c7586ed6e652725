"""What a test of Stretto stands on: a scripted Messages API, a driver of the real Claude Code, a closed network, a patient wait.

Nothing of the product imports this; the demo and the tests do.
"""
