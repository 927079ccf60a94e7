"""One module per command: EXAMPLE, `arguments(parser)`, `run(args)` -> exit status. The work is done elsewhere."""
