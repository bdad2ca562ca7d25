"""Data sets with every kind of target: `fetch_dataset` and `list_datasets`."""

from metricalign.datasets.loading import fetch_dataset, list_datasets

__all__ = ["fetch_dataset", "list_datasets"]
