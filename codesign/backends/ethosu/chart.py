"""A bar per layer: the cycles of each as an SVG picture, coloured by what limits it."""

from __future__ import annotations

from xml.sax.saxutils import escape

from codesign.backends.ethosu.layers import LayerCost, LayerTable

_ROW, _BAR, _NAME_WIDTH, _BAR_WIDTH, _NOTE_WIDTH, _HEAD = 24, 16, 270, 420, 250, 66
_NAME_LETTERS = 38
# A colour-blind safe palette (Okabe and Ito 2008): compute, then the memories in the order of the system.
_COLOURS = ("#0072b2", "#e69f00", "#cc79a7", "#009e73")
_IDLE_COLOUR = "#999999"


def layer_chart(table: LayerTable, title: str) -> str:
    """The SVG text: one row per layer with its cycles, share of the whole and utilisation of the multipliers."""
    kinds = ["compute", *table.memories]
    colours = {kind: _COLOURS[i % len(_COLOURS)] for i, kind in enumerate(kinds)}
    width, height = _NAME_WIDTH + _BAR_WIDTH + _NOTE_WIDTH, _HEAD + _ROW * len(table.layers) + 12
    longest = max((layer.op_cycles for layer in table.layers), default=0) or 1
    head = f"{title}: {table.op_cycles:,} cycles on {table.accelerator}, estimated by Vela"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="15">{escape(head)}</text>',
        *_legend(kinds, colours),
    ]
    for number, layer in enumerate(table.layers):
        top = _HEAD + _ROW * number
        colour = colours.get(layer.bound, _IDLE_COLOUR)
        length = _BAR_WIDTH * layer.op_cycles / longest
        middle = top + 13
        lines += [
            f'<text x="{_NAME_WIDTH - 10}" y="{middle}" text-anchor="end">{escape(_short(layer.name))}</text>',
            f'<rect x="{_NAME_WIDTH}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="{colour}">'
            f"<title>{escape(layer.name)}: {escape(layer.operators)}</title></rect>",
            f'<text x="{_NAME_WIDTH + length + 6:.1f}" y="{middle}" fill="#444444">{escape(_note(layer))}</text>',
        ]
    return "\n".join([*lines, "</svg>\n"])


def _legend(kinds: list[str], colours: dict[str, str]) -> list[str]:
    lines, left = [], _NAME_WIDTH
    for kind in kinds:
        text = "limited by compute" if kind == "compute" else f"limited by {kind}"
        lines.append(f'<rect x="{left}" y="38" width="12" height="12" fill="{colours[kind]}"/>')
        lines.append(f'<text x="{left + 17}" y="48">{escape(text)}</text>')
        left += 36 + 7 * len(text)
    return lines


def _note(layer: LayerCost) -> str:
    if layer.on_cpu:
        return "on the CPU, not estimated"
    if not layer.op_cycles:
        return "nothing to compute"
    return f"{layer.op_cycles:,} ({layer.share:.1%}), MACs {layer.utilisation:.1%} busy"


def _short(name: str) -> str:
    """The end of a long name: converters put what all layers share in front."""
    return name if len(name) <= _NAME_LETTERS else "…" + name[1 - _NAME_LETTERS :]
