"""Settings of the documentation: ``sphinx-build -W --keep-going docs docs/_build``."""

from __future__ import annotations

import shutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.ext.autodoc.mock import mock

import metricalign

project = "metricalign"
copyright = "the metricalign developers"
release = metricalign.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "templates", "examples"]
templates_path = ["templates"]

# `name` in a docstring links to what it names, if that has a page.
default_role = "obj"
smartquotes = False
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", r"(?!metricalign).*"),
    # Their inventories would have to be fetched.
    ("py:.*", r"(numpy|scipy|sklearn|skorch|torch|matplotlib|pandas)\..*"),
]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the docstrings describe the types
# Gigabytes, of which only the examples of networks show anything: without them these are not run.
HAS_DEEP = find_spec("torch") is not None and find_spec("skorch") is not None
autodoc_mock_imports = [] if HAS_DEEP else ["skorch", "torch"]
maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

numpydoc_show_class_members = False  # autodoc shows the methods, in full
numpydoc_validation_checks = {
    "GL06",  # sections that numpydoc knows,
    "GL07",  # in its order
    "PR02",  # no parameter that is not there,
    "PR03",  # and all in their order
    "SS02",  # a summary starts with a capital letter
}

SUBSECTIONS = ("targets", "questions", "pictures", "networks")
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "auto_examples/backreferences",
    "doc_module": ("metricalign",),
    "reference_url": {"metricalign": None},
    "subsection_order": [f"examples/{name}" for name in SUBSECTIONS],
    "filename_pattern": "/plot_" if HAS_DEEP else f"/({'|'.join(SUBSECTIONS[:-1])})/plot_",
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": (),
    "show_signature": False,
    "write_computation_times": False,  # its page loads scripts from elsewhere
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "metricalign"
html_static_path = ["static"]
html_css_files = ["metricalign.css"]
html_math_renderer = "mathml"
html_theme_options = {
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": []}
html_show_sourcelink = False

# Two references: for users, and for those who build or change a part. Each has one page for each of
# these modules and one for each name of its `__all__`.

API = Path(__file__).parent / "api"
REFERENCES = {
    "index": {
        "learners": "Metric learners",
        "features": "Features that bend",
        "predictors": "Predictions by neighbours",
        "predictors.explanation": "Explanations",
        "learners.columns": "Distances by column",
        "multilabel": "Label sets",
        "pair_classification": "Pair classification",
        "deep": "Deep metrics",
        "relations": "Relations",
        "pairs": "Pairs",
        "neighbors": "Search of neighbours",
        "losses": "Losses",
        "learners.neighborhood": "Losses of neighbours",
        "regularizers": "Regularizers",
        "metrics": "Measures and scorers",
        "datasets": "Data sets",
        "plotting": "Pictures",
    },
    "developers": {
        "testing": "Checks of one's own parts",
        "solvers": "Solvers",
        "operators": "Operators",
        "operators.kernels": "Kernels of the operators",
        "learners.base": "Base of all learners",
        "learners.alignment.base": "Base of the convex learners",
        "learners.alignment.preparation": "Preparation of a problem",
        "learners.components": "From a metric to a linear map",
        "learners.coordinates": "Targets as coordinates",
        "learners.folds": "Folds",
        "pairs.named": "Strategies by name",
        "pairs.identical": "Identical samples",
        "pairs.distinct": "Distinct samples",
        "pairs.search": "Search of the nearest",
        "pairs.distributed": "Dask arrays",
    },
}
TABLE = """\
.. currentmodule:: metricalign

.. autosummary::{option}
   :nosignatures:

"""


def write_reference(app, config):
    """Write the pages of the modules; autosummary writes those of the names."""
    shutil.rmtree(API, ignore_errors=True)
    API.mkdir()
    written = []
    for reference, sections in REFERENCES.items():
        template = "api.rst" if reference == "index" else "developers.rst"
        overview = (API.parent / "templates" / template).read_text(encoding="utf-8")
        present = {name: title for name, title in sections.items() if is_present(name)}
        overview += "".join(f"   {name}\n" for name in present)
        for name, title in present.items():
            with mock(config.autodoc_mock_imports):
                public = import_module(f"metricalign.{name}").__all__
            items = [
                f"   {item}\n" if item in metricalign.__all__ else f"   ~{name}.{item}\n"
                for item in public
            ]
            page = f"{title}\n{'=' * len(title)}\n\n.. automodule:: metricalign.{name}\n\n"
            page += TABLE.format(option="\n   :toctree: generated") + "".join(items)
            (API / f"{name}.rst").write_text(page, encoding="utf-8")
            overview += f"\n{title}\n{'-' * len(title)}\n\n:mod:`metricalign.{name}`\n\n"
            overview += TABLE.format(option="") + "".join(items)
            written.append(name)
        (API / f"{reference}.rst").write_text(overview, encoding="utf-8")
    config.autosummary_generate = [f"api/{name}.rst" for name in written]


def is_present(name):
    """Whether the package has this module."""
    return find_spec(f"metricalign.{name}") is not None


def skip_inherited(app, what, name, member, skip, options):
    """Leave out methods that scikit-learn documents, and fields that the class describes."""
    if type(member).__name__ == "_tuplegetter":
        return True
    module = getattr(getattr(member, "fget", member), "__module__", None) or "metricalign"
    return skip or not module.startswith("metricalign")


# Formulas as MathML, which browsers show without a script from elsewhere.


def add_formula(self, node):
    """Add a formula within the text."""
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def add_displayed_formula(self, node):
    """Add a formula on a line of its own."""
    self.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app):
    """Register what Sphinx does not have."""
    app.connect("config-inited", write_reference)
    app.connect("autodoc-skip-member", skip_inherited)
    app.add_html_math_renderer("mathml", (add_formula, None), (add_displayed_formula, None))
