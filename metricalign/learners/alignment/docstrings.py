"""Completion of the docstrings of the methods by entries of `RelationAlignment`."""

from __future__ import annotations

import re
import textwrap

__all__ = ["complete_docstring"]

# One or several parameters or attributes, and their description.
_ENTRY = re.compile(r"^    (\w+(?:, \w+)*)( : .*)?\n((?:        .*\n)+)", re.MULTILINE)
_POINTER = re.compile(r"(?:(.*?); see|See) `RelationAlignment`[.;] ?(.*)$")
# A sentence about a parameter that the methods do not have.
_OF_CONE = re.compile(r" A SciPy sparse array for ``cone=\S+``\.")


def complete_docstring(method: type, general: type) -> None:
    """Replace "see `RelationAlignment`" in the docstring of a method by the entry of that class.

    So `help` of each method is complete, and the entries that all share are written once.

    Parameters
    ----------
    method : type
        One of the methods.
    general : type
        `RelationAlignment`.
    """
    if method.__doc__ is None or general.__doc__ is None:  # as by python -OO
        return
    entries = {
        entry[1]: (entry[2], _OF_CONE.sub("", " ".join(entry[3].split())))
        for entry in _ENTRY.finditer(general.__doc__)
    }

    def completed(entry):
        pointer = _POINTER.match(" ".join(entry[3].split()))
        if pointer is None:
            return entry[0]
        before, after = pointer[1] or "", pointer[2]
        parts = []
        for name in entry[1].split(", "):
            kind, text = entries[name]
            text = text if text.startswith(before) else f"{before}. {text}"
            text = f"{text} {after[:1].upper()}{after[1:]}".strip()
            parts.append(f"    {name}{entry[2] or kind}\n{_filled(text)}")
            after = ""
        return "".join(parts)

    method.__doc__ = _ENTRY.sub(completed, method.__doc__)


def _filled(text):
    lines = textwrap.wrap(text, 92, break_long_words=False, break_on_hyphens=False)
    return "".join(f"        {line}\n" for line in lines)
