"""What runs the code of the docs: blocks.py reads it, server.py runs its commands, material.py has what they name."""
