"""What differs between machines, from the environment."""

import os

DATABASE = os.environ.get("ALLIGATOR_CONN", "sqlite:///new_post.db")
"""Where the application has its tables, and the queue too."""
SMTP_HOST = os.environ.get("SMTP_HOST", "localhost")
SMTP_PORT = int(os.environ.get("SMTP_PORT", "8025"))
SERVER_EMAIL = os.environ.get("SERVER_EMAIL", "sosocial@example.com")
