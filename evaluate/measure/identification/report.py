"""A network's file and a set of searches -> identification rates as text, JSON and a page with figures."""

from pathlib import Path

from markupsafe import Markup

from bench.errors import InputError
from bench.files import exists, write_json, write_text
from bench.machine.device import choose_device
from bench.markdown import markdown_table
from bench.runs.card_parts.identification import IdentificationResult
from bench.runs.inputs import how_to_render, is_rendered
from evaluate.layouts.ijb.templates import is_template_set
from evaluate.layouts.searches import is_search_set, load_search_set
from evaluate.measure.embed import embed, load_network
from evaluate.measure.identification.measure import FPIRS, RANKS, identify
from evaluate.pages.curves import cmc_plot, legend, tpir_plot
from evaluate.pages.render import render_page

_LAYOUTS = "a folder with searches.csv, or TinyFace"


def report_searches(network: Path, path: Path, out: Path, *, device: str = "auto") -> str:
    """Search for the probes of a set in its galleries.

    Args:
        network: File of the network.
        path: The set.
        out: Folder for ``searches.json`` and ``searches.html``.
        device: auto, cpu, cuda or cuda:N.

    Returns:
        The rates as a Markdown table, and the path of the page.

    Raises:
        InputError: If the set or the network is missing or malformed.
    """
    if not exists(path):
        advice = how_to_render(path.name) if is_rendered(path.name) else f"give {_LAYOUTS}"
        raise InputError(f"{path} does not exist; {advice}")
    if is_template_set(path):
        raise InputError(f"{path} holds templates; evaluate it with --protocols, which searches its galleries too")
    if not is_search_set(path):
        raise InputError(f"{path} holds no searches; give {_LAYOUTS}")
    test_set, chosen = load_search_set(path), choose_device(device)
    embeddings = embed(load_network(network, chosen), test_set.faces, device=chosen)
    result = identify(embeddings, test_set.searches, num_images=len(test_set.faces), sha256=test_set.sha256)
    title = f"Identification: {network.stem} on {test_set.name}"
    rows = rate_rows(result)
    figures = [("CMC", cmc_plot(result.galleries, "CMC"))]
    open_set = tpir_plot(result.galleries, "TPIR against FPIR")
    figures += [("TPIR against FPIR", open_set)] if open_set else []
    section = {
        "title": "Rates",
        "notes": ["Per cent. Ties count against the person. TPIR asks for rank 1 at or above the threshold."],
        "tables": [rows],
        "figures": [(caption, Markup(figure)) for caption, figure in figures],
        "legend": legend(list(result.galleries)),
    }
    paragraph = (
        "A search is mated if its person is enrolled. FPIR is the share of non-mated searches that return anybody at "
        "or above the threshold (ISO/IEC 19795-1); it is counted per search, not per pair."
    )
    write_json(out / "searches.json", result.model_dump(mode="json"))
    page = render_page("people.html", title=title, paragraphs=[paragraph], sections=[section])
    write_text(out / "searches.html", page)
    return "\n".join([f"# {title}", "", markdown_table(rows[0], rows[1:]), "", f"report {out / 'searches.html'}"])


def rate_rows(result: IdentificationResult) -> list[list[str]]:
    """Header, a row per gallery, and a row over all of them where there are several; rates in per cent."""
    header = ["gallery", "enrolled", "mated", "non-mated", *(f"rank {rank}" for rank in RANKS)]
    rows = [[*header, *(f"TPIR at FPIR {fpir}" for fpir in FPIRS)]]
    for name, each in result.galleries.items():
        counts = (each.num_enrolled, each.num_mated, each.num_non_mated)
        rates = [*(each.rank.get(str(rank)) for rank in RANKS), *(each.tpir_at_fpir[fpir] for fpir in FPIRS)]
        rows.append([name, *(f"{count:,}" for count in counts), *map(_percent, rates)])
    if len(result.galleries) > 1:
        rates = [*(result.rank[str(rank)] for rank in RANKS), *(result.tpir_at_fpir[fpir] for fpir in FPIRS)]
        rows.append(["all", "", "", "", *map(_percent, rates)])
    return rows


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f}"
