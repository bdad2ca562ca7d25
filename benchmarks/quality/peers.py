"""Do neighbours of a learned metric predict better than networks and kernels made for tables?

On ten sets, five of classes and five of numbers, in the folds of neighbors.py: the peers TabR,
which retrieves neighbours with a network (TabR-S-D), RealMLP, a network (the smaller one,
RealMLP-TD-S), and xRFM, recursive feature machines; all of them from pytabkit at its defaults, with
which a fifth of the training samples is for validation, and missing values imputed. Methods of
neighbors.py beside them.

The peers need an environment of their own:

    python -m venv peers
    peers/bin/pip install . "pytabkit[models]" faiss-cpu
    METRICALIGN_DATA=folder peers/bin/python benchmarks/quality/peers.py [--kinds continuous]
        [--methods Euclid xRFM] [--max-samples 450] [--n-folds 3] [--draws 0]

Finished cells are kept in benchmarks/results/peers.json and not computed again.
"""

import argparse

import neighbors
from neighbors import read_options, report, results_of
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

# Chosen before any peer was run: small sets of numeric columns.
SETS = {
    "single_label": ("glass", "satimage", "sonar", "vowel", "wdbc"),
    "continuous": ("auto_mpg", "concrete", "energy_cooling", "kin8nm", "wine_quality_red"),
}
PEERS = {"TabR": "TabR_S_D", "RealMLP": "RealMLP_TD_S", "xRFM": "XRFM_D"}
METHODS = (
    "Euclid",
    "ExtraTrees",
    "HistGradientBoosting",
    *PEERS,
    "MetricNeighbors",
    "without trees",
)


def model_of(method, kind):
    """An estimator at its defaults."""
    if method not in PEERS:
        return neighbors.model_of(method, kind)
    import pytabkit

    suffix = "Classifier" if kind == "single_label" else "Regressor"
    peer = getattr(pytabkit, f"{PEERS[method]}_{suffix}")
    return make_pipeline(SimpleImputer(), peer(device="cpu", n_threads=1, random_state=0))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments, size, _ = read_options(parser, SETS, METHODS)
    path = neighbors.RESULTS.with_name("peers.json")
    for kind in arguments.kinds:
        found = results_of(model_of, arguments.methods, kind, SETS[kind], path, *size)
        report(kind, SETS[kind], arguments.methods, found)


if __name__ == "__main__":
    main()
