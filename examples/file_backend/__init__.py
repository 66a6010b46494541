"""A backend of one's own, as a distribution: see docs/writing-a-backend.md."""
