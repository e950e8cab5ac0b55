"""A small server on loopback that stands in for Yahoo Finance: screener page and JSON endpoints, made-up companies only."""
