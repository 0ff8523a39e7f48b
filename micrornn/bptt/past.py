"""Time steps that earlier updates computed, and one way back over all of them.

Tape by tape, each piece would have products of its own for the gradients of the weights, and be walked row by row. Here
what the recurrent layers read and said lies in arrays contiguous in time, and the way back goes layer by layer:

    dgates of all pieces     one call of the cell's kernel for each piece, for it has weights of its own
    dx of all pieces         a product for each piece, where it is wanted
    dweights                 one product over all time steps, added to what is in `grad`

Past       pieces whose losses have counted
layers     the records of the recurrent layers of a piece, if there is nothing else that ties it to its neighbours
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from micrornn import kernels
from micrornn.bptt.chain import Link
from micrornn.ops.embedding import embedding
from micrornn.ops.recurrent import SequenceOp
from micrornn.recompute import Segment, back
from micrornn.tape import Record, Tape, Tensor


@dataclass
class Piece:
    """Where a link lies in the arrays (its first time steps may be there no more), and its layers."""

    start: int
    stop: int
    layers: list[Layer]


@dataclass
class Layer:
    """A recurrent layer of a piece: its record, and the rows by which x is computed from the layer below.

    table    of ids, if the first of those rows looks them up; it is not among `rows` then
    """

    record: Record
    rows: list[Record]
    table: Record | None


def layers(segment: Segment, count: int) -> list[Layer] | None:
    """From the lowest to the highest of `count`; None where they do not read a sequence forward, or where a gradient
    takes another way through the piece than from the last states through the layers to the first ones."""
    records = segment.tape.records
    places = [n for n, record in enumerate(records) if isinstance(record.op, SequenceOp)]
    found = [records[n] for n in places]
    if len(found) != count or any(type(record.op) is not SequenceOp for record in found):  # recurrent dropout
        return None
    if any(record.saved["mask"].size or record.saved["reverse"] for record in found):
        return None
    kinds = range(1, 1 + len(segment.last))
    made = {id(tensor): record for record in records for tensor in record.outputs}
    for kind, last in zip(kinds, segment.last):
        if id(last) not in made or _ids(made[id(last)].inputs) != _ids(record.outputs[kind] for record in found):
            return None
    if segment.first is None:
        if any(record.needs[kind] for record in found for kind in kinds):
            return None
    else:
        split = {id(record.inputs[0]): record.outputs for record in records if record.op.name == "unstack"}
        for kind, first in zip(kinds, segment.first):
            if _ids(split.get(id(first), ())) != _ids(record.inputs[kind] for record in found):
                return None
    said = []
    for n, (record, place) in enumerate(zip(found, places)):
        x, above = record.inputs[0], places[n - 1] + 1 if n else 0
        rows = _leading_to([x], records[above:place])
        known = {id(tensor) for row in rows for tensor in row.outputs} | ({id(found[n - 1].outputs[0])} if n else set())
        read = [tensor for row in rows for tensor in row.inputs if not tensor.leaf] + [x]
        if any(tensor.requires_grad and id(tensor) not in known for tensor in read):
            return None
        table = rows[0] if rows and rows[0].op is embedding else None
        said.append(Layer(record, rows[1:] if table else rows, table))
    return said


def forget_losses(segment: Segment) -> Segment:
    """Its loss has counted. Leave on the tape what the last state was computed from: the rest, such as the logits, is
    not needed again."""
    segment.tape.records = _leading_to(segment.last, segment.tape.records)
    return dataclasses.replace(segment, weight=0.0)


def _ids(tensors: Any) -> list[int]:
    return [id(tensor) for tensor in tensors]


def _leading_to(tensors: Sequence[Tensor], records: Sequence[Record]) -> list[Record]:
    """The rows by which these are computed."""
    needed, found = set(map(id, tensors)), []
    for record in reversed(records):
        if not needed.isdisjoint(map(id, record.outputs)):
            needed.update(map(id, record.inputs))
            found.append(record)
    return found[::-1]


class Past:
    """The last `len` time steps, of at most `most`, in links one behind the other.

    add(link)      a link that was computed, behind the others; what lies too far back is forgotten. False: not added,
                   for from now on links are walked tape by tape, with borders where the last `most` steps begin
    keep(steps)    forget what lies further back
    back(dlast)    from the cotangents of the last state, to `grad` of all parameters
    """

    def __init__(self, model: Any, most: int):
        self.model, self.most = model, most
        self.links: list[Link] = []
        self.pieces: list[Piece] | None = []  # of the links; None where they have to be walked tape by tape
        self.arrays: list[dict[str, Any]] = []  # of each layer, what the gradients of its weights are made of
        self.start = self.stop = self.room = 0  # of what is kept, in these arrays; and how much they hold

    def __len__(self) -> int:
        return self.stop - self.start

    def add(self, link: Link) -> bool:
        segment, rnn = link.segment, getattr(self.model, "rnn", None)
        assert segment is not None
        link.segment = segment = forget_losses(segment)
        self.keep(max(0, self.most - len(link)))
        if self.pieces is None:
            self.links.append(link)
            self.stop += len(link)
            return True
        found = None if rnn is None else layers(segment, rnn.num_layers)
        if found is None:
            self.pieces = None
            return False
        fresh = min(len(link), self.most)
        if self.stop + fresh > self.room:
            self._make_room(found)
        self.stop += fresh
        for layer, arrays in zip(found, self.arrays):
            for name, array in _kept(layer).items():
                arrays[name][self.stop - fresh : self.stop] = array[len(array) - fresh :]
        self.links.append(link)
        self.pieces.append(Piece(self.stop - len(link), self.stop, found))
        return True

    def _make_room(self, found: list[Layer]) -> None:
        """Everything to the front of arrays that hold twice as much: so a row is moved once, on average."""
        if not self.arrays:
            table, self.room = kernels.of(self.model.flat.data), 2 * self.most
            for layer in found:
                kept = _kept(layer).items()
                self.arrays.append({name: table.empty((self.room, *a.shape[1:]), a.dtype) for name, a in kept})
        for arrays in self.arrays:
            for array in arrays.values():
                array[: len(self)] = array[self.start : self.stop]
        for piece in self.pieces or ():
            piece.start, piece.stop = piece.start - self.start, piece.stop - self.start
        self.start, self.stop = 0, len(self)

    def keep(self, steps: int) -> None:
        self.start = max(self.start, self.stop - steps)
        while self.links and sum(map(len, self.links[1:])) >= len(self):
            self.links.pop(0)
            if self.pieces is not None:
                self.pieces.pop(0)

    def back(self, dlast: Sequence[Any]) -> None:
        if not self.links:
            return
        if self.pieces is None:
            for link in reversed(self.links):
                assert link.segment is not None
                dlast = back(self.model, link.segment, dlast, new=False)
            return
        dy = None
        for n in reversed(range(len(self.arrays))):
            dx = self._layer_back(n, [None if rows is None else rows[n] for rows in dlast], dy)
            dy = None if dx is None else self._rows_back(n, dx)

    def _layer_back(self, n: int, dlast: Sequence[Any], dy: Any) -> Any:
        """Back through the recurrent layer n of all pieces; the cotangent of what it read, if that is wanted."""
        assert self.pieces
        record, steps = self.pieces[-1].layers[n].record, len(self)
        op, saved, k = record.op, record.saved, kernels.of(self.model.flat.data)
        assert isinstance(op, SequenceOp)
        most, dstates = 1 + max(piece.stop - piece.start for piece in self.pieces), []
        for name, drow in zip(op.cell.states, dlast):
            drows = k.empty((most, *saved[name].shape[1:]), saved[name].dtype)  # of one piece after the other
            drows[0] = 0 if drow is None else drow
            dstates.append(drows)
        if dy is not None:
            k.accumulate(dstates[0][0], dy[-1])
        dgates = k.empty((steps, *saved["gates"].shape[1:]), saved["gates"].dtype)
        dhidden = k.empty(dgates.shape, dgates.dtype) if op.cell.program.sided else dgates
        dx = k.empty((steps, *saved["x"].shape[1:]), saved["x"].dtype) if record.needs[0] else None
        into = {a: b.grad for a, b in zip(op.cell.parameters, record.inputs[1 + len(dstates) :])}
        for piece in reversed(self.pieces):
            saved, (part, gone) = piece.layers[n].record.saved, self._place(piece)
            if gone:
                later = {name: saved[name][gone:] for name in ("gates", "hidden", *op.cell.states) if name in saved}
                saved = saved | later
            count = part.stop - part.start
            for drows in dstates:  # the piece behind it has left there what crosses the border
                drows[count] = drows[0]
            dstates[0][:count] = 0
            if dy is not None:
                dstates[0][not part.start : count] = dy[max(0, part.start - 1) : part.stop - 1]
            dvectors = op.cell_back(k, saved, dgates[part], dhidden[part], [drows[: count + 1] for drows in dstates])
            for name, dvector in zip(op.cell.vectors, dvectors):
                k.accumulate(into[name], dvector)
            if dx is not None:
                rows, weight = dgates[part].reshape(-1, dgates.shape[2]), saved["weights"][0]
                k.matmul(dx[part].reshape(-1, weight.shape[1]), rows, weight)
        x, before = (self.arrays[n][name][self.start : self.stop] for name in ("x", "before"))
        op.weight_gradients(k, x, before, dgates, dhidden, into)
        return dx

    def _rows_back(self, n: int, dx: Any) -> Any:
        """From the cotangent of what layer n read to that of what the one below said."""
        k, parameters = kernels.of(dx), list(self.model.flat.parameters.values())
        assert self.pieces
        table = self.pieces[-1].layers[n].table
        for piece in self.pieces if self.pieces[-1].layers[n].rows else ():
            layer, tape, (part, gone) = piece.layers[n], Tape(guard=False), self._place(piece)
            tape.records, dout = layer.rows, dx[part]
            if gone:
                dout = k.zeros((piece.stop - piece.start, *dx.shape[1:]), dx.dtype)
                dout[gone:] = dx[part]
            below = layer.table or (piece.layers[n - 1].record if n else None)
            of = [*parameters, *([below.outputs[0]] if below else [])]
            found = tape.cotangents(of, [layer.record.inputs[0]], [dout], copy=False)
            for parameter, gradient in zip(parameters, found):
                if gradient is not None:
                    k.accumulate(parameter.grad, gradient)
            if below and found[-1] is not None:
                dx[part] = found[-1][gone:]
        if table is not None:
            ids = self.arrays[n]["ids"][self.start : self.stop]
            k.scatter_add(table.inputs[0].grad, ids.reshape(-1), dx.reshape(-1, dx.shape[2]))
        return dx if n else None

    def _place(self, piece: Piece) -> tuple[slice, int]:
        """Where it lies within what is kept, and how many of its time steps lie before that."""
        gone = max(0, self.start - piece.start)
        return slice(piece.start + gone - self.start, piece.stop - self.start), gone


def _kept(layer: Layer) -> dict[str, Any]:
    """Arrays with time as their first axis that the gradients of a layer's weights are made of."""
    saved, op = layer.record.saved, layer.record.op
    assert isinstance(op, SequenceOp)
    found = {"x": saved["x"], "before": saved[op.cell.states[0]][:-1]}
    if layer.table is not None:
        found["ids"] = layer.table.saved[0].reshape(saved["x"].shape[:2])
    return found
