"""Cells as words: numbers, gaps, units, and the reason why a cell is none of these."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from services.errors import Fact, InvalidOption, error_from

_GAP_WORDS = "nan na null none n/a - -- #n/a -nan 1.#qnan -1.#qnan 1.#ind -1.#ind"

GAPS = frozenset({"", *_GAP_WORDS.split()})
"""Words for a gap, in any case."""

NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
"""A number; the decimal mark may be a comma."""

# Also 12%, 1_000, 1.234,5 and 1e999, so that a data row with a refused cell is not taken for names;
# but nothing with a tab inside, which separates cells.
_LIKE_NUMBER = re.compile(r"[-+.,\u2212]*+(?:inf(?:inity)?|\d[-+.,e_%'\d \u00a0\u2009\u202f]*+)")

_ANY_DELIMITER = re.compile(r"[\s,;|]+")

_FORTRAN = re.compile(r"([0-9.,])[dD]([+-]?[0-9])")

_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:[.,' \u00a0\u2009\u202f][0-9]{2,3})+(?:[.,][0-9]+)?")
_MOMENT = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}.*|\d{1,2}[./]\d{1,2}[./]\d{2,4}.*|\d{1,2}:\d{2}(?::.*)?"
)
_WITH_UNIT = re.compile(rf"({NUMBER.pattern})\s*([A-Za-z\u00b0\u00b5\u03bc\u03a9%/^-]{{1,12}})")

BRACKETED = re.compile(r"[\[(<{][^\[\](){}<>]{0,40}[\])>}]")
"""A unit in brackets."""

_UNIT_WORDS = """
m dm cm mm um µm μm nm pm km angstrom å in inch cm-1 1/cm cm^-1 cm⁻¹ m^-1 1/m
° deg degree degrees rad mrad 2theta °2θ °2th % %t %r
s sec second seconds ms us µs μs ns min h hr hour hours d hz khz mhz ghz thz 1/s
v mv uv µv μv kv volt volts a ma ua µa μa na pa amp amps w mw kw v/s v/m
ohm ohms ω Ω kohm mohm f pf nf uf µf mh c mah ah a/cm2 ma/cm2 ma/cm²
ev kev mev j kj mj cal kcal k mk °c degc c °f g mg ug µg kg t
n mn kn hpa kpa mpa gpa bar mbar psi torr atm n/mm2 n/mm² m/s mm/s m/s^2 m/s2
mol mmol umol µmol ppm ppb mol/l mg/ml mg/l g/cm3 l ml ul µl l/min ml/min w/m2 w/m²
au a.u. a.u arb arb. arb.u. arb.units arbitrary absorbance transmittance reflectance
count counts cts cps counts/s intensity dimensionless db dbm dbv oe mt - --
"""

_UNITS = frozenset(_UNIT_WORDS.split())
"""Units that instruments write without brackets, in lower case."""


_SUMMARY_WORDS = """
mean average avg avg. median mode sum total totals count n min minimum max maximum range
std sd stdev std. std.dev. stddev standarddeviation variance var rsd %rsd rsd% cv cv%
mittelwert summe gesamt durchschnitt moyenne somme media promedio suma
"""

_SUMMARIES = frozenset(_SUMMARY_WORDS.split())
"""Words that stand before figures of a whole column, below a table, without their spaces."""


def is_summary(cell: str) -> bool:
    """Tell whether a cell stands before figures of a whole column.

    Parameters
    ----------
    cell : str
        The cell.

    Returns
    -------
    bool
        True for words such as ``Mean`` and ``Std. dev.:``.
    """
    return "".join(cell.casefold().split()).rstrip(":=") in _SUMMARIES


def is_gap(cell: str) -> bool:
    """Tell whether a cell holds no number.

    Parameters
    ----------
    cell : str
        The cell.

    Returns
    -------
    bool
    """
    return cell.strip().lower() in GAPS


def is_number(cell: str) -> bool:
    """Tell whether a cell is read as a number, whichever its decimal mark is.

    Parameters
    ----------
    cell : str
        The cell.

    Returns
    -------
    bool
    """
    text = cell.strip()
    return NUMBER.fullmatch(text) is not None or NUMBER.fullmatch(as_plain(text)) is not None


def is_like_number(cell: str) -> bool:
    """Tell whether a cell was meant as a number, accepted or not.

    Parameters
    ----------
    cell : str
        The cell.

    Returns
    -------
    bool
    """
    return _LIKE_NUMBER.fullmatch(cell.strip().lower()) is not None


def are_numbers(text: str) -> bool:
    """Tell whether a line holds two numbers or more and nothing else, whichever its delimiter is.

    Parameters
    ----------
    text : str
        The line.

    Returns
    -------
    bool
    """
    cells = [cell for cell in _ANY_DELIMITER.split(text) if cell]
    return len(cells) > 1 and all(map(is_number, cells))


def as_plain(text: str) -> str:
    """Write a number of Fortran, or with a real minus sign, in the usual way.

    Parameters
    ----------
    text : str
        A cell without spaces around it.

    Returns
    -------
    str
        The same text if it has neither.
    """
    if "\u2212" in text:
        text = text.replace("\u2212", "-")
    if "d" in text or "D" in text:
        text = _FORTRAN.sub(r"\1e\2", text)
    return text


def is_unit(cell: str) -> bool:
    """Tell whether a cell looks like a unit.

    Parameters
    ----------
    cell : str
        The cell.

    Returns
    -------
    bool
    """
    text = cell.strip()
    return BRACKETED.fullmatch(text) is not None or text.lower().replace(" ", "") in _UNITS


def are_units(cells: Sequence[str]) -> bool:
    """Tell whether the cells of a row look like units: at least one, and no other words.

    Parameters
    ----------
    cells : sequence of str
        The cells.

    Returns
    -------
    bool
    """
    words = [cell for cell in cells if cell.strip()]
    return bool(words) and all(map(is_unit, words))


def unit_of(cell: str) -> str | None:
    """Return the unit that a cell holds, without brackets.

    Parameters
    ----------
    cell : str
        The cell.

    Returns
    -------
    str or None
        None for an empty cell.
    """
    text = cell.strip()
    if BRACKETED.fullmatch(text):
        text = text[1:-1].strip()
    return text or None


_ADVICE = (
    (_MOMENT, "; replace dates and times by seconds or days from the first"),
    (re.compile("#.*"), "; it is an error of a spreadsheet, so empty the cell"),
    (re.compile(".*%"), "; leave out the per cent sign"),
    (re.compile(rf"\(\s*(?:{NUMBER.pattern})\s*\)"), "; write a minus sign instead of brackets"),
    (_GROUPED, "; if it has a mark of thousands, name it by thousands="),
    (_WITH_UNIT, "; leave out the unit"),
)
"""Advice on cells that are meant as numbers."""


def explain(cell: str) -> tuple[str, str]:
    """Say why a cell is no number, what would help, and the code for that.

    Parameters
    ----------
    cell : str
        The cell.

    Returns
    -------
    tuple of str and str
    """
    text = cell.strip()
    if text.lstrip("+-").lower() in {"inf", "infinity"}:
        return "is not finite", "not_finite"
    advice = next((advice for pattern, advice in _ADVICE if pattern.fullmatch(text)), "")
    return f"is not a number{advice}", "not_a_number"


_THOUSANDS = {"'": "['\u2019]", "space": "[ \u00a0\u2009\u202f]", ",": ",", ".": r"\."}
"""Marks of thousands as patterns."""


class Thousands:
    """Removes a mark of thousands from numbers.

    Parameters
    ----------
    mark : str
        ``'``, ``space``, ``,`` or ``.``.
    """

    def __init__(self, mark: str) -> None:
        sign = _THOUSANDS[mark]
        # Groups of two are Indian: 12,34,567.
        self._number = re.compile(rf"[+-]?\d{{1,3}}(?:{sign}\d{{2,3}})*{sign}\d{{3}}(?!\d)(.*)")
        self._sign = re.compile(sign)

    def remove(self, text: str) -> str:
        """Return a number without the marks; other text as it is."""
        match = self._number.fullmatch(text)
        if match is None or self._sign.search(match[1]):
            return text
        return self._sign.sub("", text)


class Gaps:
    """Words and numbers for a gap.

    Parameters
    ----------
    more : sequence of str
        Those that the client names besides the usual ones.
    """

    def __init__(self, more: Sequence[str] = ()) -> None:
        stripped = [word.strip() for word in more]
        self.words = GAPS | {word.lower() for word in stripped}
        plain = [as_plain(word).replace(",", ".") for word in stripped if is_number(word)]
        self.numbers = sorted({float(word) for word in plain})
        if any(math.isinf(number) for number in self.numbers):
            detail = "gap: a number is too large for float64."
            raise error_from(InvalidOption, Fact(detail, "invalid", parameter="gap"))

    def has(self, cell: str) -> bool:
        """Tell whether a cell is a word for a gap."""
        return cell.strip().lower() in self.words
