"""Common parts of the processes: arguments, logging, signals, child processes, finding the services."""
