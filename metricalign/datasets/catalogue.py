"""The data sets that can be downloaded, with their sources and licences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from metricalign.datasets.sources import (
    Arrays,
    Files,
    OpenML,
    read_classes,
    read_mat,
    read_mulan,
)

__all__ = ["CATALOGUE", "TASKS", "DataSet"]

TASKS = ("single_label", "multi_label", "label_distribution", "continuous", "multi_target")
"""The kinds of targets."""


@dataclass(frozen=True)
class DataSet:
    """A data set that can be downloaded.

    Parameters
    ----------
    name : str
        Name of the data set in this package.
    task : str
        Kind of the target, one of `TASKS`.
    shape : tuple of int
        Numbers of samples, features, and classes, labels or numbers.
    source : Files or OpenML
        Source of the data set.
    licence : str
        The known facts about the licence.
    reference : str
        Publication to cite.
    notes : str or None, default=None
        Facts that a user should know.
    """

    name: str
    task: str
    shape: tuple[int, int, int]
    source: Files | OpenML
    licence: str
    reference: str
    notes: str | None = None

    def check(self, arrays: Arrays) -> None:
        """Raise a ValueError if the arrays do not have the shape of the data set."""
        X, Y = arrays["X"], arrays["Y"]
        n_targets = len(arrays["label_names"]) if self.task == "single_label" else Y[:1].size
        found = (*X.shape, n_targets)
        if found != self.shape or len(X) != len(Y):
            raise ValueError(
                f"The data set {self.name!r} from {self.source.address} has {found} samples, "
                f"features and targets, expected {self.shape}: it is not what metricalign knows."
            )


_GITHUB = "https://raw.githubusercontent.com"
_MULAN = f"{_GITHUB}/tsoumakas/mulan/43f6389095ad71984264db4387a8074b22bc7d4a/data/"
_BOOMER = f"{_GITHUB}/mrapp-ke/Boomer/8882de70751e900adad7b962525366f322301dc4/data/"
_PYLDL = f"{_GITHUB}/SpriteMisaka/PyLDL/082937638e075b35d349a2e69e36219d52512dc8/datasets/"
_GLEMR = f"{_GITHUB}/Yunan-Lu/GLEMR/83c0a45fb65bda68244157723e16a70be6a47171/datasets/"
_RAML = f"{_GITHUB}/guibinght/MT-SRML/82748e6569bc9828eccec48084e198fd34f18804/PPDML/"
_RAML_CHECKSUM = "2aed391d0485b5d350ab96ba42ed4ba4adb5fe402f64270c915baf906d9603cc"

_RESEARCH = "no data licence stated: for research with citation, not to be passed on"
_UCI = "the UCI repository publishes its data sets under CC BY 4.0"
_LDL = "Geng, Label distribution learning, IEEE TKDE 2016"

_LEVELS = ("1", "2", "3", "4", "5")

_NO_SIGNAL = (
    "The yeast sets of label distributions share their features, which tell almost nothing of the "
    "targets: the mean distribution is as good a prediction as nearest neighbours or ridge "
    "regression."
)


def _openml(name, source, shape, licence, reference, notes=None):
    return DataSet(name, "multi_label", shape, source, licence, reference, notes)


def _mulan(name, files, shape, reference):
    files = {f"multi-label/{path}": checksum for path, checksum in files.items()}
    source = Files(_MULAN, files, read_mulan)
    return DataSet(name, "multi_label", shape, source, _RESEARCH, reference)


def _multi_target(name, checksum, shape, reference):
    read = partial(read_mulan, n_targets=shape[-1])
    path = f"multi-target/{name.removeprefix('mt_')}.arff"
    source = Files(_MULAN, {path: checksum}, read)
    return DataSet(name, "multi_target", shape, source, _RESEARCH, reference)


def _distribution(
    name,
    file,
    checksum,
    shape,
    base=_PYLDL,
    read: Callable = read_mat,
    reference=_LDL,
    notes=None,
):
    source = Files(base, {file: checksum}, read)
    return DataSet(name, "label_distribution", shape, source, _RESEARCH, reference, notes)


def _yeast(name, checksum, n_labels):
    file = f"{name.capitalize()}.mat"
    shape = (2465, 24, n_labels)
    return _distribution(name, file, checksum, shape, notes=_NO_SIGNAL)


def _raml(variable, *shape):
    read = partial(read_classes, variable=variable)
    source = Files(_RAML, {"RAMLUCI.mat": _RAML_CHECKSUM}, read)
    reference = "Zhu et al., Beyond similar and dissimilar relations, IJCAI 2018; UCI repository"
    notes = "The copy of the authors of RAML, most columns of which are scaled to 0..1."
    return DataSet(f"raml_{variable}", "single_label", shape, source, _UCI, reference, notes)


_DATASETS = [
    _openml(
        "emotions",
        OpenML("emotions", 40589),
        (593, 72, 6),
        "public, says OpenML",
        "Trohidis, Tsoumakas, Kalliris and Vlahavas, ISMIR 2008",
    ),
    _openml(
        "flags",
        OpenML(
            "flags",
            285,
            labels=("red", "green", "blue", "gold", "white", "black", "orange"),
            dropped=("name", "mainhue", "topleft", "botright"),
        ),
        (194, 19, 7),
        _UCI,
        "Forsyth, Flags, UCI repository 1990; as a multi-label set Gonçalves, Plastino and "
        "Freitas, ICTAI 2013",
        "The labels are the colours of a flag.",
    ),
    _openml(
        "scene",
        OpenML("scene", 40595),
        (2407, 294, 6),
        "public, says OpenML",
        "Boutell, Luo, Shen and Brown, Pattern Recognition 2004",
    ),
    _openml(
        "yeast_ml",
        OpenML("yeast", 40597),
        (2417, 103, 14),
        "public, says OpenML",
        "Elisseeff and Weston, NIPS 2001",
        "Not related to the yeast sets of label distributions.",
    ),
    _openml(
        "birds",
        OpenML("birds", 40588),
        (645, 260, 19),
        "public, says OpenML",
        "Briggs et al., MLSP 2013",
        "294 samples have no label.",
    ),
    DataSet(
        "image",
        "multi_label",
        (2000, 294, 5),
        Files(
            _BOOMER,
            {
                "image-train.arff": (
                    "26bdac46f5eda9aa44adf8496787242a5a9d3cd2c5fa284d36b9d5221e0b92b6"
                ),
                "image-test.arff": (
                    "7ae850e486b4490b2fa55a06c0b67f2b5bf5406fbf9f2b80fc78acffa2066a26"
                ),
                "image.xml": "d1feb933924093f582052b20a1c1417ebcca5ca6267c5973fdc32a2f49014afc",
            },
            partial(read_mulan, label_names=("desert", "mountains", "sea", "sunset", "trees")),
        ),
        _RESEARCH,
        "Zhang and Zhou, ML-kNN, Pattern Recognition 2007",
    ),
    _mulan(
        "cal500",
        {
            "cal500/cal500.arff": (
                "cfe6097ba5fd6e8584e54911ab9783dcab34e898446b7c9370c71d477eae56d3"
            ),
            "cal500/cal500.xml": "877e128531268d7661faa3e44f7bb43cbcda829c0895e49879168775b192728c",
        },
        (502, 68, 174),
        "Turnbull, Barrington, Torres and Lanckriet, IEEE TASLP 2008",
    ),
    _mulan(
        "medical",
        {
            "medical/medical.arff": (
                "ad0630a9a409ed0023c3bb56a0be7610b635c1ca185c6035e3b198b01167aac4"
            ),
            "medical/medical.xml": (
                "51fa9d5c09e48caff3f0a0c75db1c9aa85944f8e35451f3ad8bd56fc422286ce"
            ),
        },
        (978, 1449, 45),
        "Pestian et al., BioNLP 2007",
    ),
    _mulan(
        "corel5k",
        {
            "corel5k/Corel5k-sparse.arff": (
                "12c06161d2367f919f6da912089a6c9180c115cfcefa37afacfdeb903930eb7e"
            ),
            "corel5k/Corel5k.xml": (
                "54ef6a6ccb7ca9b77524052b34b306d5d501661a5609b9d1cc7085b2b597679d"
            ),
        },
        (5000, 499, 374),
        "Duygulu, Barnard, de Freitas and Forsyth, ECCV 2002",
    ),
    _mulan(
        "bibtex",
        {
            "bibtex/bibtex.arff": (
                "a282a6d1fb3cdaf39bde3f81cd4e6079850a7a538a6bc44f8b4ed95dfe1e5014"
            ),
            "bibtex/bibtex.xml": "08fe20013c1e75dcf1888c185f5187c95e76495b8518ce289b4d3afce38d1232",
        },
        (7395, 1836, 159),
        "Katakis, Tsoumakas and Vlahavas, ECML PKDD Discovery Challenge 2008",
    ),
    _mulan(
        "foodtruck",
        {
            "foodtruck/foodtruck.arff": (
                "f69e028cd3427b009a2b3147d78e6c955bc43c9dc1434d23e589a206fa332be3"
            ),
            "foodtruck/foodtruck.xml": (
                "a018e2a20480ef0c90c588ecc0bc4912f272a091fc26b00482377338e48b0c0d"
            ),
        },
        (407, 21, 12),
        "Rivolli, Parker and de Carvalho, EPIA 2017",
    ),
    _mulan(
        "tmc2007_500",
        {
            "tmc2007/tmc2007-500.arff": (
                "3ea7e95dd80a78a3e7d521d77c3371bfef888da1d364b5a3bb71c7222ad7f013"
            ),
            "tmc2007/tmc2007-500.xml": (
                "cb6a67c8ae72fd9b47d89f77aa5b7f6cafb4ba9c20b1124c65a95a3f2caec38d"
            ),
        },
        (28596, 500, 22),
        "Srivastava and Zane-Ulman, IEEE Aerospace 2005",
    ),
    _distribution(
        "sjaffe",
        "SJAFFE.mat",
        "bdd53fb033a275b39b8fd873809cd69f3cee13234f5aa472aea0f5ad73b8a04b",
        (213, 243, 6),
        reference=f"{_LDL}; Lyons et al., FG 1998 (JAFFE, for non-commercial research)",
    ),
    _distribution(
        "sbu_3dfe",
        "SBU_3DFE.mat",
        None,
        (2500, 243, 6),
        reference=f"{_LDL}; Yin et al., FG 2006 (BU-3DFE)",
        notes="Only from a folder of your own: no checksum of the published file is known.",
    ),
    _distribution(
        "natural_scene",
        "ns.mat",
        "a0398a8277cae4fa80415763e92ab973d531ac2a8048264d243cbe8103dfd65a",
        (2000, 294, 9),
        base=_GLEMR,
        read=partial(read_mat, target="label_distribution"),
    ),
    _distribution(
        "movie",
        "Movie.mat",
        "5c8629905fdf18640410d43b30f1a84c17473df38e48f279f5a2af11019a1bac",
        (7755, 1869, 5),
        read=partial(read_mat, label_names=_LEVELS),
    ),
    _distribution(
        "scut_fbp",
        "SCUT_FBP.mat",
        "2851c11a0b98ad84483784230b597eca81108583b60ed3cc8674816ab48c03de",
        (1500, 300, 5),
        read=partial(read_mat, label_names=_LEVELS),
    ),
    _distribution(
        "emotion6",
        "emotion6.mat",
        "2cc3b82d142b5eb27509105540390a8a7de2d6780b898d8e69c29a12a2e409a5",
        (1980, 168, 7),
    ),
    _yeast("yeast_alpha", "8b7f7788371326776299407785a5520cd05b194f57cf3babdeb21fe3d4281167", 18),
    _yeast("yeast_cdc", "c59015213b54a93d1142c2dda0cf4907b5672d25d3343abc8b34f1cf8ce7ccc9", 15),
    _yeast("yeast_cold", "7b1f599ec4791052f9549c62cc6c8677af3e982a9f4bddb298c2bb2694811f21", 4),
    _yeast("yeast_diau", "adb77a20d5d84ea0e28bfa5c99ba094e9ba950b0d0e65bfb24551badfb8ce1ac", 7),
    _yeast("yeast_dtt", "26ecc88e892f5964140ff144d372d15c83112f10e781c8ed497458b9286e1f1a", 4),
    _yeast("yeast_elu", "d78808326a3e80ada817e1fb77308a4561a23176843a216f458e77e0e2a8937f", 14),
    _yeast("yeast_heat", "6d55eccc10c97969542c5acc58194e34fe046557f876fc1ae3cd3f7a46159c94", 6),
    _yeast("yeast_spo", "5a0bf3c55f268b24ff8b846a135befe2bc25ed085a46fc1c4b7f4c1f4c8ff16f", 6),
    _yeast("yeast_spoem", "925259095ffe88269661e39fdeea39e558954356817b0480d777a98bbc917ca1", 2),
    DataSet(
        "fgnet_age",
        "continuous",
        (1002, 251, 1),
        Files(
            _PYLDL,
            {"FG-Net.mat": "9b016b9304a2f75a1fa9b41b455dca8c07d779d2580dbb1d4f25f33ff8bf5c33"},
            partial(read_mat, target="age", label_names=("age",)),
        ),
        _RESEARCH,
        "FG-NET ageing image database",
        "Whose face a row is, is not known: rows of one person leak across random folds.",
    ),
    _multi_target(
        "mt_wq",
        "4a0906b4a51bf52c986790ddaf261ba51faa3da9cffe823badabd88d38d252fe",
        (1060, 16, 14),
        "Dzeroski, Demsar and Grbovic, Applied Intelligence 2000",
    ),
    _multi_target(
        "mt_slump",
        "3a9a9eba416b06c7668153b44073a0e165afbfc9e526d53b174e5f97a707ca6c",
        (103, 7, 3),
        "Yeh, Cement and Concrete Composites 2007",
    ),
    _raml("iris", 150, 4, 3),
    _raml("wpbc", 198, 33, 2),
    _raml("wine", 178, 13, 3),
    _raml("sonar", 208, 60, 2),
    _raml("glass", 214, 9, 6),
    _raml("wdbc", 569, 30, 2),
    _raml("australian_credit", 690, 14, 2),
    _raml("hepatitis", 155, 19, 2),
    _raml("wiscon", 699, 9, 2),
    _raml("zoo", 101, 16, 7),
]

CATALOGUE = {dataset.name: dataset for dataset in _DATASETS}
"""The data sets by name."""
