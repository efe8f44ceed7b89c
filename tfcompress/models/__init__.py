"""The compressible models, and how a user's own model becomes one."""
