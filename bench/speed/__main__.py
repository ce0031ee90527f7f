"""Measure speed and memory on this machine, into reports/speed/: ``python -m bench.speed generate``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.cli import run
from bench.speed import SPEED_DIR, Row, write_speed


def main() -> int:
    """Parse, measure, write and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (measure, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
        command.add_argument("--out", type=Path, default=SPEED_DIR, help="folder of the tables (reports/speed)")
        command.set_defaults(measure=measure)
    args = parser.parse_args()
    print(args.measure(args).read_text())
    return 0


def _generate(args: argparse.Namespace) -> Path:
    from bench.runtime import choose_device
    from generate import attrop_speed, speed

    tables: dict[str, Sequence[Row]] = {
        f"Images of the base generator, in batches of {speed.BATCH_SIZE}": speed.generator_rows(
            choose_device(args.device)
        ),
        "AttrOP": attrop_speed.attrop_rows(),
    }
    notes = f"{speed.NOTES}\n\n{attrop_speed.NOTES}"
    return write_speed("generate", "Vec2Face: as published against ours", tables, notes=notes, directory=args.out)


def _evaluate(args: argparse.Namespace) -> Path:
    from evaluate.speed import NOTES, scoring_rows

    tables = {"Five sets of 6,000 pairs, embeddings of 512 dimensions": scoring_rows()}
    title = "Ten-fold accuracy: the field's grid loop against ours"
    return write_speed("evaluate", title, tables, notes=NOTES, directory=args.out)


COMMANDS = {
    "generate": (_generate, "the Vec2Face generator and AttrOP: as published, and ours"),
    "evaluate": (_evaluate, "ten-fold accuracy of five sets: the field's grid loop, and ours"),
}
"""Name -> how to measure it, which returns the page; and what it is. Each stage measures itself in its own package."""

if __name__ == "__main__":
    run(main)
