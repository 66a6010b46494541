"""The command line: ``alligator-sql``, and ``latergator.py`` as in Alligator 1.0.

The commands are imported by the programs: a process that a supervisor starts has none to read.
"""


def main() -> None:
    """Run ``alligator-sql``."""
    from . import commands, console

    console.run(commands.program)


def latergator() -> None:
    """Run ``latergator.py DSN``, which does what ``alligator-sql worker DSN`` does."""
    from . import console, worker

    console.run(worker.run)
