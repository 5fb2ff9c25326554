r"""Any text as LaTeX that sets it and runs nothing of it.

What pdflatex has letters for without a package is set by it: Latin with accents, and the signs of `SIGNS`. Of all else
`unknown_letters` tells: xelatex and lualatex set it with a font that has it.
"""

# ruff: noqa: RUF001 - the signs that are told apart here look alike
from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

from ipw.reports.text import MISSING

SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
MATHS = {
    "×": "times", "±": "pm", "÷": "div", "≤": "leq", "≥": "geq", "≈": "approx", "≠": "neq", "→": "rightarrow",
    "←": "leftarrow", "↔": "leftrightarrow", "∞": "infty", "√": "surd", "Ω": "Omega", "Δ": "Delta", "Σ": "Sigma",
    "Γ": "Gamma", "Θ": "Theta", "Λ": "Lambda", "Π": "Pi", "Φ": "Phi", "Ψ": "Psi", "α": "alpha", "β": "beta",
    "γ": "gamma", "δ": "delta", "ε": "epsilon", "η": "eta", "θ": "theta", "κ": "kappa", "λ": "lambda", "μ": "mu",
    "ν": "nu", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega",
}  # fmt: skip
SIGNS = {sign: f"$\\{name}$" for sign, name in MATHS.items()} | {
    "−": "$-$", "¹": "$^1$", "²": "$^2$", "³": "$^3$", "°": r"$^{\circ}$", "µ": r"\textmu{}", "½": r"\textonehalf{}",
    "¼": r"\textonequarter{}", "¾": r"\textthreequarters{}", "€": r"\texteuro{}", "£": r"\pounds{}", "¥": r"\textyen{}",
    "§": r"\S{}",
    "·": r"$\cdot$", "•": r"\textbullet{}", "…": r"\dots{}", MISSING: "--", "—": "---", "‐": "-", "‑": "-",
    "‘": "`", "’": "'", "“": "``", "”": "''", "‚": ",", "„": ",,", "«": r"$\ll$", "»": r"$\gg$",
    "™": r"\texttrademark{}", "®": r"\textregistered{}", "©": r"\textcopyright{}", "\N{REPLACEMENT CHARACTER}": "?",
}  # fmt: skip
LETTERS = frozenset("ßæøłœÆØŁŒı")
ACCENTS = frozenset("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c")
"""Grave, acute, circumflex, tilde, macron, breve, dot, diaeresis, ring, double acute and caron."""
LAST_ACCENTED = "\u017f"
"""LaTeX declares the accented letters of Latin-1 and of Latin Extended-A."""
JOINED = {"--", "''", "``", ",,", "?`", "!`"}
"""What fonts of TeX make one sign of."""
BREAKS_AFTER, LONGEST_WORD = "_/.:@+=", 16


def escaped(text: str) -> str:
    """Write `text` so that LaTeX sets it, on one line. It may stand at the beginning of a row."""
    return _guarded("".join(_signs(_plain(text))))


def breakable(text: str) -> str:
    """Write `text` as `escaped` does, and allow new lines within long words."""
    return _guarded(" ".join(map(_with_breaks, _plain(text).split())))


def _with_breaks(word: str) -> str:
    if len(word) <= LONGEST_WORD:
        return "".join(_signs(word))
    found, since = [], 0
    for c, sign in zip(word, _signs(word), strict=True):
        since += 1
        breaks = c in BREAKS_AFTER or since >= LONGEST_WORD
        found.append(sign + r"\allowbreak{}" if breaks else sign)
        since = 0 if breaks else since
    return "".join(found)


def unknown_letters(texts: Iterable[str]) -> str:
    """Give the characters, each once, that pdflatex cannot set."""
    return "".join(dict.fromkeys(c for text in texts for c in _plain(text) if not _known(c)))


def _plain(text: str) -> str:
    seen = "".join(c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c) != "Cf")
    return " ".join(seen.split())


def _signs(text: str) -> Iterator[str]:
    for before, c in zip(f" {text}", text, strict=False):
        sign = SPECIAL.get(c) or SIGNS.get(c, c)
        yield f"{{}}{sign}" if before + c in JOINED else sign


def _guarded(text: str) -> str:
    r"""Keep a row's beginning from being read as an option of the `\\` before it, and a number beside its %."""
    text = text.replace(r" \%", r"~\%")
    return f"{{}}{text}" if text[:1] in {"[", "*"} else text


def _known(c: str) -> bool:
    if c.isascii() or c in SIGNS or c in LETTERS:
        return True
    if c > LAST_ACCENTED:
        return False
    base, *accents = list(unicodedata.normalize("NFD", c))
    return base.isascii() and base.isalpha() and len(accents) == 1 and accents[0] in ACCENTS
