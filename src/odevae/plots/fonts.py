"""A font for every character: covariates have names in all scripts, and Matplotlib's own fonts lack many of them."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

logger = logging.getLogger(__name__)

# A font that has every character, as a box with the name of its script.
BOXES = "Last Resort"

_warned: set[str] = set()


@contextmanager
def fonts_for(figure: Figure) -> Iterator[None]:
    """Inside, a figure is drawn with installed fonts wherever its own font lacks a character.

    If no font has a character, one line says so, once in a process, in place of all that Matplotlib would say.
    """
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            _warn_once("".join(_let_fall_back(text) for text in figure.findobj(Text)))
            yield
    finally:
        log.setLevel(level)


def _let_fall_back(text: Text) -> str:
    """Add the fonts that a text needs; returns the characters that none has."""
    lacking = _without_glyph(text.get_text(), text.get_fontproperties())
    if lacking:
        text.set_fontfamily([*text.get_fontfamily(), *_fonts_with(lacking)])
    return _without_glyph(lacking, text.get_fontproperties())


def _warn_once(lacking: str) -> None:
    if lacking and not _warned:
        _warned.add(lacking)
        logger.warning(
            f"warning: no font on this machine has {' '.join(dict.fromkeys(lacking))}, so figures show boxes in their "
            "place; install a font that has them (for instance Noto Sans CJK) and draw the figures again."
        )


@cache
def _fonts_with(characters: str) -> list[str]:
    """As few font families as have all of the characters that any installed font has."""
    families = []
    names = sorted({entry.name for entry in fontManager.ttflist if not entry.name.startswith(BOXES)})
    while characters:
        left = {name: _without_glyph(characters, FontProperties(family=[name])) for name in names}
        best = min(names, key=lambda name: len(left[name]))
        if left[best] == characters:
            break
        families.append(best)
        characters = left[best]
    return families


def _without_glyph(characters: str, font: FontProperties) -> str:
    """Those of some characters, each once, that none of a font's families can draw."""
    # Every font has those of ASCII.
    wanted = (character for character in dict.fromkeys(characters) if not (character.isascii() or character.isspace()))
    characters = "".join(wanted)
    for family in font.get_family() if characters else []:
        properties = font.copy()
        properties.set_family([family])
        # A file that is gone or damaged has no glyphs.
        with suppress(OSError, RuntimeError, ValueError):
            face = get_font(findfont(properties, fallback_to_default=False, rebuild_if_missing=False))
            characters = "".join(character for character in characters if not face.get_char_index(ord(character)))
    return characters
