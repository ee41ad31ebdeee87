"""TeX to MathML, which browsers draw themselves: no script, nothing fetched."""

import re

FENCE = re.compile(r"^(?P<indent> *)```math\n(?P<tex>.*?)\n *```$", re.S | re.M)


def typeset(markdown: str) -> str:
    """Replace fences of ``math`` by equations on lines of their own; one equation to a line."""

    def drawn(fence: re.Match[str]) -> str:
        lines = [block(tex) for tex in fence["tex"].splitlines() if tex.strip()]
        return "\n".join(lines)

    return FENCE.sub(drawn, markdown)


def block(tex: str) -> str:
    r"""Return an equation on a line of its own; ``\tag{7}`` at its end gives it a number."""
    tagged = re.fullmatch(r"(?P<tex>.*?)\s*\\tag\{(?P<tag>[^}]*)\}\s*", tex, re.S)
    number = f'<span class="number">({tagged["tag"]})</span>' if tagged else ""
    drawn = _mathml(tagged["tex"] if tagged else tex, "block")
    return f'\n<div class="equation">{drawn}{number}</div>\n'


def inline(tex: str) -> str:
    """Return an equation within a line of text; Markdown takes a bare ``<math>`` for a block."""
    return f"<span>{_mathml(tex, 'inline')}</span>"


def _mathml(tex: str, display: str) -> str:
    from latex2mathml.converter import convert

    drawn: str = convert(" ".join(tex.split()), display=display)  # a star comes as an entity
    return drawn
