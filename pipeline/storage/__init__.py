"""PostgreSQL: tables, rows, the writer thread, and values that are read regularly."""
