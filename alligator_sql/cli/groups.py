"""Groups of commands."""

from pkgutil import resolve_name

import click


class Elsewhere(click.Command):
    """Stands for a command in a module that is imported when the command is asked for."""

    def __init__(self, name: str, place: str) -> None:
        super().__init__(name)
        self.place = place

    def found(self) -> click.Command:
        """Return the command itself."""
        command: click.Command = resolve_name(self.place)
        return command


class Group(click.Group):
    """Lists its commands as they are declared: what is used first comes first."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, if there is one of that name."""
        command = super().get_command(ctx, cmd_name)
        return command.found() if isinstance(command, Elsewhere) else command
