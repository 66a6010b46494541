"""Small applications that use alligator-sql."""
