"""Where ahead runs run. One executor so far: `local`, this machine. A second (a cluster) will meet the same three calls:
`spawn(spec) -> Owner`, `Owner.lines()` and `cancel(process)`."""
