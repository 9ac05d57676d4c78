"""Names in any script, with and without an installed font that has it."""

import warnings

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager

from odevae.plots import fonts, style

UNITS_PER_EM = 1000
MATPLOTLIB_S_OWN = ("DejaVu", "STIX", "cm", "Last Resort")


@pytest.fixture
def own_fonts_only(monkeypatch):
    """No fonts but those that come with Matplotlib, in a process that has not warned yet."""
    own = [entry for entry in fontManager.ttflist if entry.name.startswith(MATPLOTLIB_S_OWN)]
    monkeypatch.setattr(fontManager, "ttflist", own)
    monkeypatch.setattr(fonts, "_warned", set())
    fonts._fonts_with.cache_clear()
    yield
    fonts._fonts_with.cache_clear()


def save_figure(file) -> None:
    """A figure with names in two scripts in its title, a label, a legend and a tick; every warning is an error."""
    figure = style.new_figure(4, 3, "小鼠 7")
    axes = figure.add_subplot()
    axes.plot([0, 1], label="頭部方向")
    axes.set_xticks([0, 1], ["왼쪽", "right"])
    axes.legend()
    style.describe(axes, "頭部方向 (rad)", "activity")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        style.save(figure, file)


def write_font(path, family: str, characters: str) -> None:
    """A font in which each of some characters is the same square."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 700), (800, 700), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"uni{ord(character):04X}" for character in characters)]
    builder = FontBuilder(UNITS_PER_EM)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(character): name for character, name in zip(characters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (900, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(path)


def test_characters_that_no_font_has_are_named_in_one_line(own_fonts_only, tmp_path, caplog):
    for name in ("first", "second"):
        save_figure(tmp_path / f"{name}.pdf")
    (error,) = caplog.messages
    assert error.startswith("warning: no font on this machine has ")
    assert all(character in error for character in "小鼠頭部方向왼쪽")
    assert "install a font that has them (for instance Noto Sans CJK)" in error
    assert (tmp_path / "second.pdf").stat().st_size > 0


def test_installed_fonts_are_used_for_the_characters_that_they_have(own_fonts_only, tmp_path, caplog):
    save_figure(tmp_path / "boxes.png")
    caplog.clear()
    fonts._fonts_with.cache_clear()
    fonts._warned.clear()
    write_font(tmp_path / "hanzi.ttf", "Some Hanzi", "小鼠頭部方向")
    write_font(tmp_path / "hangul.ttf", "Some Hangul", "왼쪽")
    for name in ("hanzi", "hangul"):
        fontManager.addfont(tmp_path / f"{name}.ttf")
    save_figure(tmp_path / "names.png")
    assert not caplog.records
    assert (tmp_path / "names.png").read_bytes() != (tmp_path / "boxes.png").read_bytes()


def test_a_font_whose_file_is_gone_is_left_out(own_fonts_only, tmp_path, caplog):
    font = tmp_path / "gone.ttf"
    write_font(font, "Gone", "小鼠頭部方向왼쪽")
    fontManager.addfont(font)
    font.unlink()
    save_figure(tmp_path / "figure.png")
    assert caplog.messages[0].startswith("warning: no font on this machine has ")
