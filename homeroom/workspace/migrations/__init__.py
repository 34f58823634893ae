"""How the tables came to be as tables.py has them, one file in versions/ for each change, run by Alembic."""
