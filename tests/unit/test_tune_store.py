"""Tuning records: kept, found again, shared by processes, damaged, repaired, taken elsewhere."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.network import policy_of
from codesign.backends.tvm.plan import plan
from codesign.backends.tvm.tune import records
from codesign.backends.tvm.tune.records import Record, append, scan
from codesign.backends.tvm.tune.store import Store, key_of
from codesign.errors import InputError
from codesign.target import load_target
from codesign.testing.cases import CASES, I2, I4

CHOICE = {"template": "dot", "rows": 2}


def record(key: str = "k", cost: float = 10.0, rows: int = 2, status: str = "exact") -> Record:
    choice = {**CHOICE, "rows": rows}
    return Record(key, choice, status, cost, "cycle", "model", "", "2026-01-31", "conv2d 4x4x4")  # type: ignore[arg-type]


def cpu_of(name: str = "cortex-a76") -> Cpu:
    cpu = load_target(name).cpu
    assert cpu is not None
    return cpu


def test_the_best_comes_first_and_the_last_word_counts(tmp_path: Path) -> None:
    Store(cpu_of(), tmp_path).add([record(cost=10), record(rows=1, cost=7), record(rows=4, cost=1, status="wrong")])
    Store(cpu_of(), tmp_path).add([record(cost=5)])
    best = Store(cpu_of(), tmp_path).best("k")
    assert [(r.choice["rows"], r.cost) for r in best] == [(2, 5), (1, 7)]
    assert Store(cpu_of(), tmp_path).best("another") == []


def test_each_core_has_its_file(tmp_path: Path) -> None:
    Store(cpu_of(), tmp_path).add([record()])
    assert [path.name for path in records.files(tmp_path)] == ["cortex-a76+dotprod.jsonl"]
    assert Store(cpu_of("cortex-a72"), tmp_path).best("k") == []


def _write(folder: Path, who: int) -> None:
    store = Store(cpu_of(), folder)
    for i in range(50):
        store.add([record(f"key{who}", float(i), rows=i), record(f"key{who}", float(i), rows=100 + i)])


def test_processes_share_a_store(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write, args=(tmp_path, who)) for who in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    store = Store(cpu_of(), tmp_path)
    assert [len(store.trials(f"key{who}")) for who in range(4)] == [100] * 4


def test_a_line_cut_off_by_a_crash_is_removed_by_the_next_writer(tmp_path: Path) -> None:
    store = Store(cpu_of(), tmp_path)
    store.add([record()])
    with store.path.open("ab") as file:
        file.write(record(rows=9).line().encode()[:40])
    assert len(Store(cpu_of(), tmp_path).best("k")) == 1
    Store(cpu_of(), tmp_path).add([record(rows=3)])
    assert [r.choice["rows"] for r in Store(cpu_of(), tmp_path).best("k")] == [2, 3]


DAMAGE = [
    ("{broken", "is not JSON: '{broken'"),
    ("[1]", "is no table: '[1]'"),
    ('{"format": 7}', "has format 7, not 1"),
    (json.dumps({**json.loads(record().line()), "cost": "low"}), "cost is 'low'"),
    (json.dumps({**json.loads(record().line()), "cost": -1}), "cost is -1"),
    (json.dumps({**json.loads(record().line()), "status": "fine"}), "status is 'fine'"),
    (json.dumps({**json.loads(record().line()), "basis": "guess"}), "basis is 'guess'"),
]


@pytest.mark.parametrize(("line", "found"), DAMAGE)
def test_a_damaged_line_is_named_and_repaired(tmp_path: Path, line: str, found: str) -> None:
    store = Store(cpu_of(), tmp_path)
    store.add([record()])
    with store.path.open("a") as file:
        file.write(f"{line}\n{record(rows=5).line()}")
    with pytest.raises(InputError) as error:
        Store(cpu_of(), tmp_path)
    hint = "codesign records --repair, which keeps all other lines"
    assert str(error.value) == f"{store.path}, line 2: {found}; allowed: a tuning record; try: {hint}"
    assert records.repair(store.path) == 1
    assert [r.choice["rows"] for r in Store(cpu_of(), tmp_path).best("k")] == [2, 5]
    assert store.path.with_suffix(".damaged").read_text() == f"{line}\n"


def test_of_a_file_that_is_no_store_a_few_lines_are_shown(tmp_path: Path) -> None:
    path = Store(cpu_of(), tmp_path).path
    path.write_bytes(b"\x00\xff\n" * 20)
    with pytest.raises(InputError) as error:
        Store(cpu_of(), tmp_path)
    assert len(error.value.diagnostics) == 6
    assert str(error.value.diagnostics[-1]) == f"{path}: 15 more lines are damaged"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written: .*; try: set CODESIGN_RECORDS to a directory"):
        append(tmp_path / "file" / "x.jsonl", [record()])


def test_a_store_goes_elsewhere_as_a_file(tmp_path: Path) -> None:
    Store(cpu_of(), tmp_path / "a").add([record(), record(rows=8)])
    Store(cpu_of("cortex-a72"), tmp_path / "a").add([record(cost=99)])
    assert records.export(tmp_path / "out.jsonl", tmp_path / "a") == 3
    assert records.import_(tmp_path / "out.jsonl", tmp_path / "b") == 3
    assert records.import_(tmp_path / "out.jsonl", tmp_path / "b") == 0  # nothing twice
    assert len(Store(cpu_of(), tmp_path / "b").best("k")) == 2
    assert Store(cpu_of("cortex-a72"), tmp_path / "b").best("k")[0].cost == 99


def test_a_damaged_file_is_not_imported_at_all(tmp_path: Path) -> None:
    source = tmp_path / "out.jsonl"
    source.write_text(json.dumps({"core": "../a", **json.loads(record().line())}) + "\nnothing\n")
    with pytest.raises(InputError) as error:
        records.import_(source, tmp_path / "b")
    allowed = "what codesign records --export writes"
    assert [str(d) for d in error.value.diagnostics] == [
        f"{source}, line 1: core is '../a'; allowed: {allowed}",
        f"{source}, line 2: is not JSON: 'nothing'; allowed: {allowed}",
    ]
    assert records.files(tmp_path / "b") == []


def test_the_key_knows_the_kernel_but_not_its_constants() -> None:
    cpu = cpu_of()
    task, other = (plan(CASES["conv_padded_strided"](), policy_of(cpu)).tasks[-1] for _ in range(2))
    name = task.anchor.inputs[1]  # type: ignore[union-attr]
    shuffled = replace(other, consts={**other.consts, name: other.consts[name][:, ::-1]})
    narrow = replace(other, consts={**other.consts, name: other.consts[name].clip(I2.lo, I2.hi)})
    assert other.consts[name].min() == I4.lo
    assert key_of(task, cpu) == key_of(shuffled, cpu)
    assert key_of(task, cpu) != key_of(narrow, cpu)  # templates may depend on the weights' range
    assert key_of(task, cpu) != key_of(task, cpu_of("cortex-a72"))


def test_an_empty_line_or_no_file_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    assert scan(path) == ([], [])
    path.write_text(f"\n{record().line()}\n")
    found, problems = scan(path)
    assert (len(found), problems) == (1, [])
