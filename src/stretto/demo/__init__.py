"""The demo: a real project, the real Claude Code, one scripted session, once without Stretto and once with it.

`project` gets the project, `script` says what the session does, `session` holds what was measured and computes with it, `run` performs,
`table` and `timeline` show. `live` is the second half with the user's own Claude Code. Nothing of the product imports this.
"""
