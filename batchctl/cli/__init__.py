"""The command line: one file per sub-command, one place for exit codes."""
