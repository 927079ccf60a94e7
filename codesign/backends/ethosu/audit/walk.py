"""The audit: every event of every command stream in order, against the golden graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from codesign.backends.ethosu.audit.arena import Arena
from codesign.backends.ethosu.audit.arithmetic import Unknown
from codesign.backends.ethosu.audit.convolution import audit_convolution, audit_limits
from codesign.backends.ethosu.audit.flow import Flow
from codesign.backends.ethosu.audit.golden import Golden
from codesign.backends.ethosu.audit.mean import audit_mean
from codesign.backends.ethosu.audit.parts import audit_part
from codesign.backends.ethosu.audit.pointwise import audit_copy, audit_pointwise
from codesign.backends.ethosu.audit.pooling import audit_pooling
from codesign.backends.ethosu.audit.program import Call, Executable, Place, Program, executable
from codesign.backends.ethosu.audit.result import Audit, LayerAudit, Row, Verdict, worst
from codesign.backends.ethosu.audit.softmax import audit_softmax
from codesign.backends.ethosu.audit.step import Found, Parts, Step
from codesign.backends.ethosu.stream import Device, StreamError, events, read_payload
from codesign.backends.ethosu.stream.memory import Memory
from codesign.backends.ethosu.stream.operations import Copy, Kind, Operation, Storage
from codesign.backends.ethosu.vela import Compiled
from codesign.frontend.imported import Imported
from codesign.frontend.tflite.schema import Model
from codesign.ir.types import IntArray

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
_POINTWISE = ("ADD", "SUB", "MUL", "LOGISTIC", "TANH", "HARD_SWISH", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1")


def audit(compiled: Compiled, model: Model, imported: Imported) -> Audit:
    """Compare a compiled model with the golden graph of the model that Vela was given.

    imported  what `import_tflite` made of `model`

    The compiler's database says which operator an operation belongs to; every number comes from the stream and the
    constants. Raises nothing: what cannot be decoded differs.
    """
    golden = Golden(model, imported)
    walk = _Walk(golden, Flow(golden))
    try:
        made = executable(compiled.model, golden)
        databases = [_Database(compiled, stream) for stream in _streams(compiled)]
        walk.run(made, dict(zip(made.programs, databases, strict=True)))
    except StreamError as error:
        walk.program.append((Verdict.DIFFERS, str(error)))
    return walk.result()


class _Database:
    """The compiler's database of one command stream: the operators of the model that an operation computes.

    rewritten  operators that are computed by operations of several kinds
    copies     offsets of operations that only move values
    apart      operators whose fused RELU is an operation of its own
    last       the offset of the last operation that ends with an operator: the one that computes its result
    """

    def __init__(self, compiled: Compiled, stream: str) -> None:
        sources = {row["id"]: int(row["ext_key"]) for row in compiled.table("source") if row["ext_key"].isdigit()}
        operators = {r["id"]: sources[r["source_id"]] for r in compiled.table("perf") if r["source_id"] in sources}
        queue = {int(row["offset"]): row["scheduled_id"] for row in _queue(compiled, stream)}
        fused: dict[str, list[str]] = {operation: [operation] for operation in queue.values()}
        current: dict[str, str] = {}  # the operation of a group that the next member is fused to
        for row in compiled.table("group"):
            group, member = row["group_id"], row["id"]
            if member in fused:
                current[group] = member
            else:
                fused.setdefault(current.get(group, group), []).append(member)
        self.operators: Mapping[int, tuple[int, ...]] = {
            offset: tuple(dict.fromkeys(operators[i] for i in fused[operation] if i in operators))
            for offset, operation in queue.items()
        }
        compiled_as: dict[int, set[str]] = {}
        names = {row["id"]: row["operator"] for row in compiled.table("perf")}
        self.copies = {offset for offset, operation in queue.items() if names[operation] == "MemoryCopy"}
        for offset, operation in queue.items():
            for operator in self.operators[offset][:1] if offset not in self.copies else ():
                compiled_as.setdefault(operator, set()).add(names[operation])
        several = {k: found for k, found in compiled_as.items() if len(found) > 1}
        self.apart = {k for k, found in several.items() if len({name for name in found if name[:4] != "Relu"}) == 1}
        self.rewritten = set(several) - self.apart
        self.last = {operators[-1]: offset for offset, operators in sorted(self.operators.items()) if operators}


def _streams(compiled: Compiled) -> list[str]:
    """The numbers of the command streams, in the order of the custom operators: Vela counts them up."""
    return sorted({row["cmdstream_id"] for row in compiled.table("queue")}, key=int)


def _queue(compiled: Compiled, stream: str) -> list[dict[str, str]]:
    return [row for row in compiled.table("queue") if row["cmdstream_id"] == stream]


@dataclass(eq=False)
class _Walk:
    golden: Golden
    flow: Flow
    database: _Database = field(init=False)
    rows: list[Row] = field(default_factory=list)
    program: list[tuple[Verdict, str]] = field(default_factory=list)
    covered: dict[int, IntArray] = field(default_factory=dict)
    channels: dict[tuple[int, int], int] = field(default_factory=dict)
    parts: dict[int, Parts] = field(default_factory=dict)
    inside: tuple[int, tuple[int, int, int]] | None = None
    """The tensor and the shape whose sums the operation before left in the NPU."""
    by_layer: dict[int, list[Row]] = field(default_factory=dict)

    def run(self, made: Executable, databases: Mapping[Program, _Database]) -> None:
        """All operators of the compiled model. Raises StreamError for a stream that cannot be decoded."""
        arena = Arena(self.flow, made.programs[0])
        for place in made.inputs:
            if place.address is not None:
                arena.write(place)
        for call in made.calls:
            self._expect(arena, call.inputs, "are overwritten before they are read")
            if call.program is None:
                for place in call.outputs:
                    arena.write(place)
                continue
            self.database = databases[call.program]
            self._program(call, call.program, arena)
            self._expect(arena, call.outputs, "of the output are not where the model has it")
        self._expect(arena, made.outputs, "of the output are not where the model has it")

    def _program(self, call: Call, program: Program, arena: Arena) -> None:
        """One custom operator; its inputs are taken for what they should be."""
        payload = read_payload(program.payload)
        memory = self.flow.memory = Memory(program.read_only, arena.enter(program), payload.device.tables)
        for place in call.inputs:
            arena.write(place)
        self.inside, done = None, -1
        try:
            for event in events(payload):
                if isinstance(event, Copy):
                    memory.copy(event)
                elif isinstance(event, Operation):
                    self._operation(event, payload.device, self.flow)
                    done = event.offset
        except StreamError as error:
            self.program.append((Verdict.DIFFERS, f"{self._next_layer(done)}: {error}"))
            arena.forget()
            return
        if self.inside is not None:
            name = self.golden.model.tensors[self.inside[0]].where
            self.program.append((Verdict.DIFFERS, f"{name}: sums stay inside the NPU when its command stream ends"))

    def _follow_sums(self, step: Step) -> None:
        """Differences of the way that sums go from operation to operation."""
        op, before = step.op, self.inside
        if op.sums.start == 1 and before is None:
            step.differs("it adds to sums that no operation before it left")
        elif op.sums.start == 1 and before != (step.result, op.ofm.shape):
            step.differs("it adds to sums of another layer, or of another shape")
        elif op.sums.start != 1 and before is not None:
            step.differs("it drops the sums that the operation before it left")
        if not op.sums.stay and op.ofm.storage is Storage.NONE:
            step.differs("its result is written nowhere")
        self.inside = (step.result, op.ofm.shape) if op.sums.stay else None

    def _expect(self, arena: Arena, places: Sequence[Place], text: str) -> None:
        """A difference for every tensor of the model that is certainly not where the file says; then it is there."""
        for place in places:
            wrong = arena.wrong(place)
            if wrong and place.tensor is not None:
                name, size = self.golden.model.tensors[place.tensor].where, self.flow.labels(place.tensor).size
                self.program.append((Verdict.DIFFERS, f"{name}: {wrong} of {size} elements {text}"))
                arena.write(place)

    def _next_layer(self, offset: int) -> str:
        """The layer that the next operation behind an offset belongs to: where the stream is damaged."""
        after = [o for o in sorted(self.database.operators) if o > offset and self.database.operators[o]]
        return self.golden.where(self.database.operators[after[0]][0]) if after else "behind the last layer"

    def _with_quantize(self, op: Operation, operators: tuple[int, ...]) -> tuple[int, ...]:
        """The operators of an operation, and a QUANTIZE behind that Vela fused without a word in its database."""
        database, tensor = self.database, self.golden.operator(operators[-1]).outputs[0]
        readers = [k for k, other in enumerate(self.golden.model.operators) if tensor in other.inputs]
        same = op.ofm.bytes == np.dtype(self.golden.model.tensors[tensor].kind).itemsize
        if same or len(readers) != 1 or tensor in self.golden.model.outputs:
            return operators
        listed = any(readers[0] in others for others in database.operators.values())
        if listed or self.golden.operator(readers[0]).name != "QUANTIZE":
            return operators
        database.last[readers[0]] = database.last[operators[-1]]
        return (*operators, readers[0])

    def _operation(self, op: Operation, device: Device, flow: Flow) -> None:
        operators = self.database.operators.get(op.offset, ())
        if not operators:
            flow.memory.write(op.ofm, flow.fresh(op.ofm.shape), op.offset)
            found = ("an operation that the compiler's database names no operator for",)
            self.rows.append(Row(self._next_layer(op.offset), "", op.kind.value, op.offset, Verdict.OPEN, found))
            return
        operators = self._with_quantize(op, operators)
        step = Step(op, operators, self.golden, flow, device, self.covered, self.channels, self.parts)
        step.apart = operators[0] in self.database.apart
        self._follow_sums(step)
        if op.activation.table is None and op.activation.function:
            step.differs("an activation function of the NPU's own")
        try:
            if op.offset in self.database.copies and not op.moved:
                audit_copy(step)
            else:
                _dispatch(step, operators[0] in self.database.rewritten)
        except Found as found:
            step.findings.append((found.verdict, found.text))
            step.write_rest(self.database.last[operators[-1]] == op.offset)
        except Unknown as unknown:
            step.findings.append((Verdict.OPEN, str(unknown)))
            step.write_rest(self.database.last[operators[-1]] == op.offset)
        except StreamError as error:
            step.findings.append((Verdict.DIFFERS, str(error)))
        texts = tuple(text for _, text in step.findings) or (step.compared,)
        names = " + ".join(self.golden.operator(k).name for k in operators)
        row = Row(
            self.golden.where(operators[-1]), names, op.kind.value, op.offset, step.verdict, texts, step.differing
        )
        self.rows.append(row)
        for operator in operators:
            self.by_layer.setdefault(operator, []).append(row)

    def result(self) -> Audit:
        """The rows, and a line for every operator of the model."""
        layers = tuple(self._layer(k) for k in range(len(self.golden.model.operators)))
        return Audit(tuple(self.rows), layers, tuple(self.program))

    def _layer(self, operator: int) -> LayerAudit:
        rows = self.by_layer.get(operator, [])
        name, kind = self.golden.where(operator), self.golden.operator(operator).name
        constants = self.golden.constants(operator)
        if not rows:
            return LayerAudit(name, kind, *self._without(operator), constants, 0, 0)
        verdict = worst([row.verdict for row in rows])
        findings = []
        if verdict is Verdict.PROVED:
            findings = self._uncovered(operator)
            verdict = Verdict.DIFFERS if findings else verdict
        differing = min(constants, sum(row.differing for row in rows))
        return LayerAudit(name, kind, verdict, tuple(findings), constants, differing, len(rows))

    def _uncovered(self, operator: int) -> list[str]:
        tensor = self.golden.operator(operator).outputs[0]
        count = self.covered.get(tensor)
        if count is None or (count == 1).all():
            return []
        never, twice = int((count == 0).sum()), int((count > 1).sum())
        return [f"{never} of {count.size} elements are never computed, {twice} more than once"]

    def _without(self, operator: int) -> tuple[Verdict, tuple[str, ...]]:
        """Verdict and finding of an operator that no operation computes."""
        op = self.golden.operator(operator)
        if op.outputs and all(self.flow.moves(t) for t in op.outputs):
            return Verdict.PROVED, ("needs no operation: what reads it was compared with where its values are",)
        return Verdict.OPEN, ("left to the CPU",)


def _dispatch(step: Step, rewritten: bool) -> None:
    """Compare an operation as its first operator demands."""
    name = step.golden.operator(step.operators[0]).name
    if step.op.moved:
        raise Found(Verdict.OPEN, "a result that is transposed or reversed on its way to memory")
    if rewritten and name in (*_CONVOLUTIONS, *_POOLS, *_POINTWISE):
        raise Found(Verdict.OPEN, f"{name} in operations of several kinds")
    if step.op.accumulates:
        audit_part(step)
    elif name in _CONVOLUTIONS and step.apart and step.op.kind is Kind.POOLING:
        audit_limits(step)
    elif name in _CONVOLUTIONS and step.op.kind in (Kind.CONVOLUTION, Kind.DEPTHWISE):
        audit_convolution(step)
    elif name in _POOLS and step.op.kind is Kind.POOLING:
        audit_pooling(step)
    elif step.flow.moves(step.result):
        audit_copy(step)
    elif name in _POINTWISE:
        audit_pointwise(step)
    elif name == "MEAN":
        audit_mean(step)
    elif name == "SOFTMAX":
        audit_softmax(step)
    else:
        raise Found(Verdict.OPEN, f"the arithmetic of {name}")
