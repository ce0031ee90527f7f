"""Files that ``python -m generate fetch`` downloads by name: weights, identity vectors and published datasets.

All lie in the two Hub repositories BooBooWu/Vec2Face of the Vec2Face authors: the published datasets in the one of type
dataset, everything else in the one of type model. HSFace100K and 200K are published as masks of HSFace300K alone, whose
faces the Hub does not have. ``bench.runs.hub`` downloads the files.
"""

from functools import partial

from bench.names import look_up
from bench.runs.hub import HubFile

_weights = partial(HubFile, repo_id="BooBooWu/Vec2Face")
_faces = partial(HubFile, repo_id="BooBooWu/Vec2Face", repo_type="dataset")
_NETWORKS = ("hsface10k", "hsface20k", "hsface100k", "hsface200k", "hsface300k")

CATALOGUE = {
    "generator": _weights("weights/vec2face_generator.pth"),
    "arcface-r100": _weights("weights/arcface-r100-glint360k.pth"),
    "magface-r100": _weights("weights/magface-r100-glint360k.pth"),
    "6drepnet": _weights("weights/6DRepNet_300W_LP_AFLW2000.pth"),
    "center-features": _weights("center_feature_examples.npy"),
    **{f"fr-{dataset}": _weights(f"fr_weights/{dataset}.pth") for dataset in _NETWORKS},
    "fr-casia": _weights("fr_weights/casia-webface-r50.pth"),
    "fr-casia-hsface10k": _weights("fr_weights/casia-webface_hsface10k-r50.pth"),
    "faces-hsface10k": _faces("HSFaces/hsface10k.lmdb"),
    "faces-hsface20k": _faces("HSFaces/hsface20k.lmdb"),
    "mask-hsface100k": _faces("HSFaces/hsface100k_mask.npy"),
    "mask-hsface200k": _faces("HSFaces/hsface200k_mask.npy"),
    "faces-webface4m": _weights("lmdb_dataset/WebFace4M/WebFace4M.lmdb"),
    "mask-webface4m": _weights("lmdb_dataset/WebFace4M/50000_ids_1022444_ims.npy"),
}
"""Name for ``python -m generate fetch`` -> file on the Hub."""
GENERATION = ("generator", "arcface-r100", "magface-r100", "6drepnet")
"""Names of the weights that generating an HSFace dataset needs."""


def find_file(name: str) -> HubFile:
    """The file with this name in the catalogue.

    Raises:
        InputError: If the name is unknown; the message suggests the nearest name.
    """
    return look_up("file", name, CATALOGUE)
