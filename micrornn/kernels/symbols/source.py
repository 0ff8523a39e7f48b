"""Formulas as Python text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from micrornn.kernels.symbols.symbol import Symbol, walk

_INFIX = {"add": (" + ", 1), "sub": (" - ", 1), "mul": (" * ", 2), "div": (" / ", 2)}
_CALLS = {"pow": "power", "sign": "sign_of"}


class Formulas:
    """Writes symbols as expressions.

    names     what is not written out: leaves, and what has a name already
    number    how a constant is written
    plain     for people: what is written as a choice in Python stands as an equation
    """

    def __init__(self, names: Mapping[Symbol, str], number: Callable[[float], str], plain: bool = False):
        self.names, self.number, self.plain = dict(names), number, plain

    def lines(self, wanted: Iterable[tuple[str, Symbol]], own: Callable[[Symbol], str] | None = None) -> list[str]:
        """One assignment for each (name, symbol), and before them one for each part that is used more than once.

        own    the name of such a part; "" for the next of t1, t2, ...
        """
        wanted = list(wanted)
        uses: dict[Symbol, int] = {}
        roots = tuple(symbol for _, symbol in wanted)
        inside = walk(roots, self.names)  # up to what has a name
        for symbol in inside:
            twice = not self.plain and symbol.op in ("relu", "if_positive")  # a choice names its first part twice
            for one in (*symbol.inputs, *symbol.inputs[:twice]):
                uses[one] = uses.get(one, 0) + 1
        found, count = [], 0
        targets: dict[Symbol, list[str]] = {}
        for name, symbol in wanted:
            targets.setdefault(symbol, []).append(name)
        taken = {*self.names.values(), *(name for name, _ in wanted)}
        for symbol in inside:
            if symbol in self.names or symbol.op == "constant":
                continue
            name = targets.get(symbol, [""])[0]
            if not name and uses.get(symbol, 0) > 1:
                name = own(symbol) if own else ""
                while not name:
                    count += 1
                    name = "" if f"t{count}" in taken else f"t{count}"
            if name:
                found.append(f"{name} = {self.text(symbol)}")
                self.names[symbol] = name
        for symbol, names in targets.items():
            found += [f"{name} = {self.text(symbol)}" for name in names if self.names.get(symbol) != name]
        return found

    def text(self, symbol: Symbol, above: int = 0) -> str:
        """The expression, in brackets if what stands around it binds as tightly as `above`."""
        if symbol in self.names:
            return self.names[symbol]
        if symbol.op == "constant":
            return self.number(symbol.args[0])
        if symbol.op == "leaf":
            raise KeyError(f"a leaf without a name: {symbol}")
        if symbol.op in _INFIX:
            sign, level = _INFIX[symbol.op]
            left, right = symbol.args
            # what stands to the right of a sign keeps its brackets: the order of rounding is part of the formula
            text = self.text(left, level - 1) + sign + self.text(right, level)
            return f"({text})" if above >= level else text
        if symbol.op == "neg":
            text = f"-{self.text(symbol.args[0], 2)}"
            return f"({text})" if above else text
        return self._call(symbol)

    def _call(self, symbol: Symbol) -> str:
        parts = [self.text(one) for one in symbol.args]
        if symbol.op.startswith("where"):
            a, b, x, y = parts
            told = f"{a} {symbol.op[5:]} {b}"
            return f"({x} where {told}, else {y})" if self.plain else f"({x} if {told} else {y})"
        if self.plain:
            if symbol.op == "if_positive":
                return f"({parts[1]} where {parts[0]} > 0)"
        elif symbol.op == "relu":
            return f"({self.number(0)} if {parts[0]} <= {self.number(0)} else {parts[0]})"
        elif symbol.op == "if_positive":
            return f"({parts[1]} if {parts[0]} > {self.number(0)} else {self.number(0)})"
        elif symbol.op == "clip":
            return f"min(max({parts[0]}, {parts[1]}), {parts[2]})"
        return f"{_CALLS.get(symbol.op, symbol.op)}({', '.join(parts)})"
