"""Runs the bench: starts contenders, mock and load generator, takes their measure, prints a table."""
