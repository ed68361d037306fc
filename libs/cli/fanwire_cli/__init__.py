"""The `fanwire` command: runs, feeds, watches and examines a Fanwire installation."""
