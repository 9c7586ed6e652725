"""Whole sessions of the real Claude Code on real projects: plain, with a native hook that runs the same checks, and with Stretto.

`projects` says which projects and where they come from, `scripts` what the sessions do, `prepare` gets and installs, `play` performs,
`report` computes and shows. The stage, the scripted Messages API, the comparison of outputs and the critical path are the demo's
(`stretto.demo`). Run it with `python -m bench.sessions`; docs/benchmarks.md holds a table of results.
"""
