"""What each process does around its work: arguments, logging, signals, children, and how services are found."""
