"""All SQL on the tables of clicks and statistics."""
