"""The tables for people: conditions, queries, the export, the labels of the columns."""
