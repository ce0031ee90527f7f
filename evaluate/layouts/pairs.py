"""Files that name pairs of images (LFW's layout, RFW's, or lines ``pathA pathB 0|1``), and the images they name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import InputError
from bench.faces.face import IMAGE_SUFFIXES
from evaluate.layouts.images import listed


@dataclass(frozen=True)
class Pair:
    """One line of a pairs file."""

    line: int
    """Number of the line, from 1."""
    names: tuple[str, str]
    """Names of both images, with or without a suffix."""
    is_genuine: bool


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file, in order.

    LFW's layout is recognised by its first line, ``10<tab>300`` (folds, pairs of each kind per fold). RFW's has no such
    line and is recognised by lines of four fields. Any other file must have lines ``pathA pathB 0|1``.

    Raises:
        InputError: If a line has another form, the number of pairs is not that of the first line, an image is paired
            with itself, or a pair is listed twice or with both labels; says the lines.
    """
    pairs = _parse(path)
    _check(pairs, path)
    return pairs


def _parse(path: Path) -> list[Pair]:
    try:
        rows = [
            (number, line.split("\t") if "\t" in line else line.split())
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
            if line.strip()
        ]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text ({error.reason} at byte {error.start}); give a pairs file") from None
    if not rows:
        raise InputError(f"{path} is empty; needs lines 'pathA pathB 0|1' or LFW's layout")
    header = rows[0][1]
    if not (len(header) == 2 and all(part.strip().isdigit() for part in header)):
        parse = _lfw_pair if any(len(parts) == 4 for _, parts in rows) else _generic_pair
        return [parse(number, parts, path) for number, parts in rows]
    num_folds, per_fold = map(int, header)
    pairs = [_lfw_pair(number, parts, path) for number, parts in rows[1:]]
    if len(pairs) != 2 * num_folds * per_fold:
        raise InputError(
            f"{path} holds {len(pairs)} pairs, but its first line says {num_folds} folds of {per_fold} genuine and "
            f"{per_fold} impostor pairs, {2 * num_folds * per_fold} in all; correct the file"
        )
    return pairs


def _generic_pair(number: int, parts: list[str], path: Path) -> Pair:
    """A line ``pathA pathB 0|1``."""
    if len(parts) != 3 or parts[2] not in ("0", "1"):
        raise InputError(f"{path} line {number} is {' '.join(parts)!r}; needs 'pathA pathB 0|1' (1 = genuine)")
    return Pair(number, (parts[0], parts[1]), parts[2] == "1")


def _lfw_pair(number: int, parts: list[str], path: Path) -> Pair:
    """A line ``name i j`` (genuine) or ``name1 i name2 j``; image i of a name is ``name/name_000i``."""
    fields = [part.strip() for part in parts]
    if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
        fields = [fields[0], fields[1], fields[0], fields[2]]
    if len(fields) != 4 or not (fields[1].isdigit() and fields[3].isdigit()):
        raise InputError(f"{path} line {number} is {' '.join(parts)!r}; needs 'name i j' or 'name1 i name2 j'")
    first, second = (f"{name}/{name}_{int(index):04d}" for name, index in (fields[:2], fields[2:]))
    return Pair(number, (first, second), fields[0] == fields[2])


def _check(pairs: Sequence[Pair], path: Path) -> None:
    """Refuse images paired with themselves, pairs listed twice, and pairs with both labels.

    The same two images in the other order are allowed: the official CFP-FF list holds 130 such pairs.
    """
    wrong = [f"line {pair.line}: {pair.names[0]} is paired with itself" for pair in pairs if len(set(pair.names)) == 1]
    first_of_names: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        earlier = first_of_names.setdefault(pair.names, pair)
        if earlier is not pair:
            wrong.append(f"line {pair.line}: repeats the pair of line {earlier.line}")
        swapped = first_of_names.get((pair.names[1], pair.names[0]))
        if swapped is not None and swapped.is_genuine != pair.is_genuine:
            wrong.append(f"line {pair.line}: repeats the pair of line {swapped.line} with the other label")
    if wrong:
        raise InputError(f"{path} has {len(wrong)} wrong pairs: {listed(wrong)}; correct the pairs file")


def find_images(names: Sequence[str], folder: Path, *, source: Path) -> list[Path]:
    """The file of each image name. A name without a suffix matches any image suffix, in lower or upper case.

    Images are searched in ``folder``, in its ``images/``, and where RFW has them: for a folder ``txts/Asian`` that is
    ``data/Asian``.

    Args:
        names: Names as in a pairs file.
        folder: Where to search.
        source: The file that names the images, for messages.

    Raises:
        InputError: If images are missing; lists them.
    """
    roots = [folder, folder / "images", folder.parent.parent / "data" / folder.name]
    files = [next(_candidates(name, roots), None) for name in names]
    missing = [name for name, file in zip(names, files, strict=True) if file is None]
    if missing:
        raise InputError(
            f"{source} names {len(missing)} missing images (of {len(names)}): {listed(missing, 50)}; "
            f"put them under {folder}, or remove their pairs"
        )
    return [file for file in files if file is not None]


def _candidates(name: str, roots: Sequence[Path]) -> Iterator[Path]:
    suffixes = [""]
    if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
        suffixes = sorted(IMAGE_SUFFIXES) + sorted(suffix.upper() for suffix in IMAGE_SUFFIXES)
    for root in roots:
        for suffix in suffixes:
            file = root / f"{name}{suffix}"
            if file.is_file():
                yield file
