"""The tutorial's example: a user posts, and all followers get a mail."""
