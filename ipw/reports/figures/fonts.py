"""Fonts for the letters in names: what the style's own font lacks is taken from another font of this machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SYSTEMS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "PingFang SC",
    "Hiragino Sans GB", "Microsoft YaHei", "Malgun Gothic", "Noto Sans Arabic", "Noto Sans Hebrew",
    "Noto Sans Devanagari", "Noto Emoji", "Symbola", "Segoe UI Symbol", "Arial Unicode MS",
)  # fmt: skip
"""Fonts of other letters, as systems bring them."""
OWN = "DejaVu Sans"
"""Comes with matplotlib, and has Arabic, Cyrillic and signs that its serif font lacks."""


def families(style: str) -> list[str]:
    """List the fonts to look for a letter in, the style's first."""
    from matplotlib.font_manager import fontManager

    here = set(fontManager.get_font_names())
    return [style, OWN, *(name for name in SYSTEMS if name in here)]


def without_glyph(texts: Iterable[str], fonts: Sequence[str]) -> str:
    """Give the letters of `texts`, each once, that none of the fonts has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    letters = dict.fromkeys(c for text in texts for c in text if not c.isspace())
    if all(map(str.isascii, letters)):
        return ""
    opened = [get_font(findfont(FontProperties(family=[name]))) for name in fonts]
    return "".join(c for c in letters if not any(font.get_char_index(ord(c)) for font in opened))
