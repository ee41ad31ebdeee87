"""One job of the command line, its configuration, and the sweeps of many."""
