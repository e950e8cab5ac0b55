"""PostgreSQL: tables, rows, the one writer thread, and what is read from them again and again."""
