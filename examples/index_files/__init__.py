"""Index the files of a folder, lose a worker on the way, and show that nothing got lost."""
