"""``python -m alligator_sql.cli``."""

from . import main

main()
