"""One file for each change of the tables, oldest first; never edited once released."""
