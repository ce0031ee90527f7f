"""The card of a dataset -> its datasheet: answers that follow from the card, else ``GAP``, which the publisher fills.

Questions follow Datasheets for Datasets (arXiv 1803.09010). The page of the dataset shows them all; ``croissant.json``
holds the answers under the names of Croissant's vocabulary for responsible AI.
"""

from bench.runs.cards import DatasetCard

GAP = "Not stated: the publisher of the dataset has to write this."
_RENDERER = "render"
"""The kind of the generator that draws heads without a network."""
_RENDERED = "rendered heads"
"""Start of ``trained_on`` in the provenance of a network that was trained on rendered faces."""


def datasheet(card: DatasetCard) -> list[tuple[str, str]]:
    """Questions and answers, in the order of the page; ``GAP`` where the card cannot tell."""
    per_identity = card.num_images / card.num_identities
    checksum = f"SHA-256 {card.content_sha256}" if card.content_sha256 else "see the card"
    return [
        ("Why was it made? Who paid for it?", GAP),
        ("What are the instances?", "Aligned face images of 112 x 112 pixels, RGB; the label is an identity."),
        (
            "How many are there?",
            f"{card.num_images:,} images of {card.num_identities:,} identities, {per_identity:.1f} each.",
        ),
        ("Are there labels, splits, missing values?", "One identity per image; no splits; nothing is missing."),
        ("Are there errors, noise, redundancies?", _noise(card)),
        ("Does it hold confidential data or data about people?", personal_information(card)),
        ("Was there consent, or an ethical review?", GAP),
        ("How was it collected and sampled?", collection(card)),
        ("When?", f"{card.created_utc[:10]} (UTC)."),
        ("How were the data processed?", "Not at all after the images were made; see the settings of the generator."),
        ("What is it good for?", use_cases()),
        ("What is it not good for?", limitations(card)),
        ("Which biases does it have?", biases(card)),
        ("Under which licence?", licence(card)),
        ("Who maintains it, and how are mistakes reported?", GAP),
        ("Which version is it?", f"Fingerprint {card.fingerprint}, {checksum}."),
    ]


def is_rendered(card: DatasetCard) -> bool:
    """Whether the renderer alone made the images, without a network or data of others."""
    return (card.inputs.get("generator") or {}).get("kind") == _RENDERER


def is_learned_from_photographs(card: DatasetCard) -> bool:
    """Whether a network that made the images was trained on photographs.

    Also true if the card names no network, as for datasets that others published.
    """
    if is_rendered(card):
        return False
    sources = [weight.trained_on or "" for weight in card.weights.values()]
    return not sources or not all(source.startswith(_RENDERED) for source in sources)


def personal_information(card: DatasetCard) -> str:
    """What the images may tell about real people."""
    if parts := card.statistics.parts:
        if any(part.is_real for part in parts):
            return "Yes: parts of the mixture are photographs of real people."
        return "See the cards of the parts of the mixture."
    if is_learned_from_photographs(card):
        return (
            "The images come from networks that learned from photographs of real people, and some may resemble them. "
            "Measure it with held-out people as a control (evaluate audit --members --control)."
        )
    return "No photograph of a person was used."


def collection(card: DatasetCard) -> str:
    """How the images came to be."""
    if parts := card.statistics.parts:
        return f"Mixed from {', '.join(part.name for part in parts)}, by `{card.command}`."
    if source := card.statistics.source:
        return f"Published by others: {source}. How they made it is theirs to say."
    networks = ", ".join(card.weights) or "a procedural head"
    return f"Made by {networks}, by `{card.command}` with seed {card.seed}. No data of people were collected for it."


def use_cases() -> str:
    """What the dataset may be used for."""
    return "Training face recognition networks for research, and measuring how well such training works."


def limitations(card: DatasetCard) -> str:
    """What the dataset should not be used for."""
    text = "Not for surveillance of people who have not agreed, and not as the only evidence about any group of people."
    if not card.statistics.parts and is_learned_from_photographs(card):
        text += " Networks trained on it recognise real faces less well than those trained on as many photographs."
    return text


def biases(card: DatasetCard) -> str:
    """What is known of the make-up of the people."""
    if card.statistics.parts:
        return "Those of its parts; see their cards."
    if is_learned_from_photographs(card):
        return "Age, sex and skin tone follow the photographs that the networks learned from; not measured."
    return "Age, head shape and skin tone are drawn from the renderer's distributions, which represent no population."


def licence(card: DatasetCard) -> str:
    """Licence of the images, as far as it follows from those of the networks."""
    if card.statistics.parts:
        return "Follows the licences of the parts of the mixture."
    if card.statistics.source:
        return f"The licence of its authors; see {card.statistics.source}."
    if is_rendered(card):
        return "MIT"
    if not card.weights:
        return "Not stated: the card names no network whose licence would hold."
    named = sorted({weight.licence or "not stated" for weight in card.weights.values()})
    return f"Follows the licences of the networks: {', '.join(named)}."


def _noise(card: DatasetCard) -> str:
    dropped = {reason: number for reason, number in (card.statistics.dropped or {}).items() if number}
    found = ", ".join(f"{number:,} dropped for {reason}" for reason, number in dropped.items())
    return f"Filters: {found or 'no image dropped'}. Run evaluate audit for duplicates and wrong identities."
