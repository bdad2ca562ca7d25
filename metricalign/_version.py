"""The version of the package. All modules may import it."""

__version__ = "0.1.0.dev0"
