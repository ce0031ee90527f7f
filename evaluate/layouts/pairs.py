"""Files that name pairs of images (layouts of LFW, RFW, CALFW, or lines ``pathA pathB 0|1``), and these images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import InputError
from bench.faces.face import IMAGE_SUFFIXES
from bench.files import is_file, read_text
from evaluate.layouts.images import listed
from evaluate.layouts.labels import is_count

_MAX_SHOWN = 80  # characters of a wrong line in a message


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

    LFW's layout is recognised by its first line: ``10<tab>300`` (folds, pairs of each kind per fold), or one number in
    the lists of View 1. RFW's has no such line and is recognised by lines of four fields. CALFW's and CPLFW's have
    lines ``image 0|1``, two lines per pair. Any other file must have lines ``pathA pathB 0|1``.

    Raises:
        InputError: If a line has another form, the number of pairs is not that of the first line, an image is paired
            with itself, or a pair is listed twice or with both labels; says the lines.
    """
    pairs = _parse(path)
    _check(pairs, path)
    return pairs


def _parse(path: Path) -> list[Pair]:
    rows = [(number, _fields(line)) for number, line in enumerate(read_text(path).splitlines(), start=1)]
    rows = [(number, fields) for number, fields in rows if fields]
    if not rows:
        raise InputError(f"{path} is empty; needs lines 'pathA pathB 0|1' or LFW's layout")
    header = rows[0][1]
    if len(header) > 2 or not all(is_count(field.strip()) for field in header):
        if all(len(fields) == 2 for _, fields in rows):
            return _two_line_pairs(rows, path)
        parse = _lfw_pair if any(len(fields) == 4 for _, fields in rows) else _generic_pair
        return [parse(number, fields, path) for number, fields in rows]
    num_folds, per_fold = map(int, header if len(header) == 2 else ["1", *header])
    pairs = [_lfw_pair(number, fields, path) for number, fields in rows[1:]]
    if len(pairs) != 2 * num_folds * per_fold or not pairs:
        raise InputError(
            f"{path} holds {len(pairs)} pairs, but its first line says {num_folds} folds of {per_fold} genuine and "
            f"{per_fold} impostor pairs, {2 * num_folds * per_fold} in all; correct the file"
        )
    return pairs


def _fields(line: str) -> list[str]:
    """Fields of a line, separated by tabs where it has any, else by spaces; empty fields at its end are dropped."""
    line = line.rstrip()
    return line.split("\t") if "\t" in line else line.split()


def _two_line_pairs(rows: Sequence[tuple[int, list[str]]], path: Path) -> list[Pair]:
    """Pairs of two lines ``image 0|1`` each, as CALFW and CPLFW list them.

    The names of the images (``Ann_Lee_0002.jpg``) must agree with every label, since the layout is easily mistaken.
    """
    pairs = []
    for (number, (first, label)), (_, (second, second_label)) in zip(rows[0::2], rows[1::2], strict=False):
        is_same_person = first.rpartition("_")[0] == second.rpartition("_")[0]
        if label not in ("0", "1") or label != second_label or is_same_person != (label == "1"):
            shown = f"{first} {label}, {second} {second_label}"[:_MAX_SHOWN]
            raise InputError(
                f"{path} line {number} begins the pair {shown!r}, whose labels and names contradict each other; needs "
                "two lines 'image 0|1' per pair (1 = genuine), or lines 'pathA pathB 0|1'"
            )
        pairs.append(Pair(number, (first, second), label == "1"))
    if len(rows) % 2:
        raise InputError(f"{path} holds {len(rows)} lines 'image 0|1'; needs two per pair, or lines 'pathA pathB 0|1'")
    return pairs


def _generic_pair(number: int, parts: list[str], path: Path) -> Pair:
    """A line ``pathA pathB 0|1``."""
    if len(parts) != 3 or parts[2] not in ("0", "1"):
        raise InputError(
            f"{path} line {number} is {' '.join(parts)[:_MAX_SHOWN]!r}; needs 'pathA pathB 0|1' (1 = genuine)"
        )
    return Pair(number, (parts[0], parts[1]), parts[2] == "1")


def _lfw_pair(number: int, parts: list[str], path: Path) -> Pair:
    """A line ``name i j`` (genuine) or ``name1 i name2 j``; image i of a name is ``name/name_000i``."""
    fields = [part.strip() for part in parts]
    if len(fields) == 3 and is_count(fields[1]) and is_count(fields[2]):
        fields = [fields[0], fields[1], fields[0], fields[2]]
    if len(fields) != 4 or not (is_count(fields[1]) and is_count(fields[3])):
        raise InputError(
            f"{path} line {number} is {' '.join(parts)[:_MAX_SHOWN]!r}; needs 'name i j' or 'name1 i name2 j'"
        )
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
            f"put them under {folder}, or remove their lines"
        )
    return [file for file in files if file is not None]


def _candidates(name: str, roots: Sequence[Path]) -> Iterator[Path]:
    suffixes = [""]
    if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
        suffixes = sorted(IMAGE_SUFFIXES) + sorted(suffix.upper() for suffix in IMAGE_SUFFIXES)
    for root in roots:
        for suffix in suffixes:
            file = root / f"{name}{suffix}"
            if is_file(file):
                yield file
