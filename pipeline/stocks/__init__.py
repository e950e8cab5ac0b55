"""The rows in PostgreSQL for people: conditions, queries, the export, the names of the columns."""
