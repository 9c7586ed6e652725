"""The hunt for wrong joins in which life varies: who runs, with what, beside what (docs/join.md).

The real supervisor, shim and hook client judge; the real scanner looks at a small real project. Made up are processes, clock, log bytes
and the commands themselves, of which an oracle knows what each depends on.
"""
