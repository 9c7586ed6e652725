"""Where ahead runs run. One executor so far: `local`, this machine. A second (a cluster) will meet the same calls:
`Forker.spawn(spec) -> Owner`, `Owner.lines()`, `cancel(process)`, `hasten(process)` and `end_orphans(attempt)`."""
