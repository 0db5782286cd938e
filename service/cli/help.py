"""Epilogs of the commands: examples whose line breaks stay, exit statuses, environment variables."""

from rich.markup import escape

from service.cli.failure import STATUSES


def epilog(*examples: str, statuses: tuple[int, ...] = (), variables: dict[str, str] | None = None) -> str:
    """What stands below a command's options."""
    lines = ["[bold]Examples[/bold]", *(f"  [cyan]{escape(example)}[/cyan]" for example in examples)]
    if statuses:
        lines += [" ", "[bold]Exit status[/bold]"]
        lines += [f"  {status:<4} {escape(STATUSES[status])}" for status in statuses]
    if variables:
        width = max(map(len, variables))
        lines += [" ", "[bold]Environment[/bold]"]
        lines += [f"  {name:<{width}}  {escape(meaning)}" for name, meaning in variables.items()]
    return "\n".join(lines)
