"""The command ``python -m bench``: runs and plans benchmarks, sends results to MLflow, converts and mixes datasets."""

from bench.cli import add_commands, make_parser, parse_flags, run, run_command
from bench.commands import benchmarks, faces
from bench.errors import python_command

COMMANDS = {"benchmarks": benchmarks.COMMANDS, "face datasets": faces.COMMANDS}


def main() -> int:
    """Run the sub-command that the command line names."""
    parser = make_parser(
        "bench", "Run or plan a whole benchmark, send results to MLflow, convert, reduce and mix face datasets."
    )
    add_commands(parser, COMMANDS)
    args = parse_flags(parser)
    if args.command is None:
        parser.error(f"name a sub-command; {python_command('bench --help')} lists them")
    return run_command(args)


if __name__ == "__main__":
    run(main)
