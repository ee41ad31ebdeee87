"""One file per item of the table; each has ``run(bench)``."""
