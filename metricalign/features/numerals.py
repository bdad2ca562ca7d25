"""The forms of texts that stand for numbers."""

from __future__ import annotations

import re

from numpy.typing import NDArray

__all__ = [
    "CURRENCY",
    "FEWEST_NUMBERS",
    "LEADING_ZERO",
    "MAGNITUDES",
    "NUMBER",
    "SCALE",
    "UNREAD_NUMBER",
    "USUAL",
    "dates_but_for",
    "match_number",
    "numbers_as_texts",
]

_CURRENCIES = (
    "[$€£¥₹₽₩₺]|USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|CZK|BRL|"
    r"(?:US|R|C|A|NZ|HK|NT|S)\$|Fr\.|kr\.?|zł|Kč|Ft|руб\.?|円|元"
)
_UNITS = (
    "%|‰|°C|°F|°|kg|g|mg|lbs?|oz|t|km/h|mph|km|cm|mm|m|mi|ft|m2|m²|l|ml|kWh|kW|hp|Hz|V|A|W|h|hrs?|"
    "min|ms|s|years?|yrs|days?|px|GB|MB|KB|TB|hPa|kPa|Pa|bar"
)
# The scales of ratings, such as 7/10 and 3 out of 5. 120/80 is not a number.
_SCALES = "(?:/|out of|of) ?(?:[2-9]|[1-9][0-9]|100)|stars?"
#: The power of ten that a letter or a word after a number stands for.
MAGNITUDES = {
    **dict.fromkeys(("k", "K", "thousand", "Tsd.", "Tsd"), 3),
    **dict.fromkeys(("M", "mn", "Mio.", "mio.", "Mio", "mio", "million"), 6),
    **dict.fromkeys(("B", "bn", "Mrd.", "Mrd", "billion"), 9),
}
_MAGNITUDES = "|".join(map(re.escape, MAGNITUDES))
#: A number with marks of any country, a currency or a unit. Brackets may stand for the minus sign.
#: A letter that may be a unit, as in 5 km, is not taken for a magnitude.
NUMBER = re.compile(
    rf"(?P<bracket>\()?(?P<sign>[-+])? *(?P<before>{_CURRENCIES})? *(?P<sign2>[-+])?"
    r"(?P<digits>[0-9][0-9.,' ]*|[.,][0-9]+)(?P<exponent>[eE][-+]?[0-9]+)?"
    rf" *(?P<magnitude>{_MAGNITUDES})??"
    rf" *(?P<after>{_CURRENCIES}|{_UNITS}|{_SCALES})?(?P<sign3>-)?(?(bracket)\))"
)
#: Table for str.translate that replaces special minus signs, apostrophes, blanks and the wide
#: characters of East Asia by those that `NUMBER` knows.
USUAL = str.maketrans("−’\u00a0\u2009\u202f\u3000￥", "-'    ¥")
USUAL |= {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_AMOUNT = rf"(?:{_CURRENCIES})? ?[0-9][0-9.,]* ?(?:{_MAGNITUDES})? ?(?:{_CURRENCIES}|{_UNITS})?"
#: A number in a form that is not read: ~20, <5, 10 - 20 km, 3.5*, or '12 from a spreadsheet.
UNREAD_NUMBER = re.compile(rf"[~≈<>≤≥±']? ?{_AMOUNT}(?: ?(?:-|–|to|±) ?{_AMOUNT})?[*†]?")
#: Patterns of currencies, and of scales, whose group is the highest rating.
CURRENCY, SCALE = re.compile(_CURRENCIES), re.compile("(?:/|out of|of) ?([0-9]+)")
#: A code that is not a number, such as 007.
LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_DATE = re.compile(
    r"([0-9]{1,2}([-./])[0-9]{1,2}\2([0-9]{4}|[0-9]{2})|[0-9]{4}([-./])[0-9]{1,2}\4[0-9]{1,2})"
    r"([ T][0-9].*)?"
)
#: If most of more distinct values are numbers, the others are taken for errors.
FEWEST_NUMBERS = 20


def match_number(text: str) -> re.Match[str] | None:
    """Match a text with `NUMBER`. None if it is no number, or above its scale, such as 120/80."""
    match = NUMBER.fullmatch(text.translate(USUAL))
    scale = SCALE.fullmatch(match["after"] or "") if match else None
    if match and scale:
        whole = re.split("[.,]", match["digits"])[0]
        if whole.isdigit() and int(whole) > int(scale[1]):
            return None
    return match


def dates_but_for(texts: NDArray) -> str | None:
    """A text among dates that is no date, or "" if all texts are dates. None if few of them are."""
    odd = [text for text in texts if not _DATE.fullmatch(text.strip())]
    if len(set(texts)) <= FEWEST_NUMBERS or len(odd) >= len(texts) / 2:
        return None
    return odd[0] if odd else ""


def numbers_as_texts(texts: NDArray) -> str | None:
    """Words for texts that are mostly numbers and no codes. None for other texts."""
    if len(set(texts)) <= FEWEST_NUMBERS or any(map(LEADING_ZERO.fullmatch, texts)):
        return None
    odd = [text for text in texts if not match_number(text.strip())]
    if len(odd) >= len(texts) / 2:
        return None
    return f"numbers, but for texts such as {odd[0]!r}" if odd else "numbers written as texts"
