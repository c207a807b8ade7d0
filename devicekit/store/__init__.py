"""The results database: one schema on SQLite (a file) and PostgreSQL (a team's server)."""
