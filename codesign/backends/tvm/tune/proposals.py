"""MetaSchedule's search for one kernel, in the process of metaschedule_worker.py.

FOLDER/job is a pickled MetaJob. Lines on stdout: `start NAME` before a candidate is compiled, whose name is a digest
of its code; candidates named in FOLDER/poison are not compiled. `measure N`: FOLDER/N.built is a pickled list of Built,
and FOLDER/N.answer is awaited, a list of costs, 0 for a candidate that is rejected. `end`: the trials are done.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule import mutator, postproc, schedule_rule
from tvm.s_tir.meta_schedule.builder import BuilderInput, BuilderResult, PyBuilder
from tvm.s_tir.meta_schedule.runner import PyRunner, PyRunnerFuture, RunnerInput, RunnerResult
from tvm.s_tir.meta_schedule.schedule_rule import ReuseType
from tvm.s_tir.meta_schedule.search_strategy import EvolutionarySearch
from tvm.s_tir.meta_schedule.space_generator import PostOrderApply

from codesign.backends.tvm.codegen import compile_kernel, target_of
from codesign.backends.tvm.definition import Definition
from codesign.backends.tvm.templates.metaschedule import intrinsic, start
from codesign.backends.tvm.tune.jobs import Built, MetaJob, write_whole
from codesign.toolchain import digest

POLL_S = 0.05
UNIT_PER_S = 1e9  # costs are handed to MetaSchedule as seconds
TILES = "SSRSRS"
MOST_INNERMOST = 64
UNROLLED = (16, 64, 256, 1024)


def main(folder: Path) -> None:
    """One search, as FOLDER/job says."""
    job: MetaJob = pickle.loads((folder / "job").read_bytes())
    definition = start(job.task, job.cpu, job.layout)
    records = folder / "records"
    records.mkdir(exist_ok=True)
    ms.tune_tir(
        definition.func,
        target_of(job.cpu),
        str(records),
        job.trials,
        num_trials_per_iter=job.batch,
        builder=_Builder(folder, job, definition),
        runner=_Runner(folder),
        cost_model="xgb",
        measure_callbacks=[ms.measure_callback.AddToDatabase(), ms.measure_callback.UpdateCostModel()],
        task_scheduler="round-robin",
        space=_space(intrinsic(job.task, job.cpu, job.layout)),
        strategy=EvolutionarySearch(population_size=job.population, init_min_unmeasured=job.batch, genetic_num_iters=3),
        num_tuning_cores=1,
        seed=job.seed,
    )
    print("end", flush=True)


def _space(instruction: str) -> PostOrderApply:
    """Tiles in registers, the innermost one an instruction where there is one; no parallel loop: code for one core."""
    reuse = ReuseType(req="may", levels=[1, 2], scope="local")
    tiling = {"structure": TILES, "tile_binds": None, "max_innermost_factor": MOST_INNERMOST, "reuse_write": reuse}
    rules: list[Any] = [
        schedule_rule.AutoInline(
            into_producer=False, into_consumer=True, inline_const_tensor=True, disallow_if_then_else=True,
            require_injective=True, require_ordered=True,
        )
    ]  # fmt: skip
    if instruction:
        rules.append(schedule_rule.MultiLevelTilingWithIntrin(instruction, **tiling))
    rules += [
        schedule_rule.MultiLevelTiling(**tiling),
        schedule_rule.ParallelizeVectorizeUnroll(
            max_jobs_per_core=-1, max_vectorize_extent=MOST_INNERMOST, unroll_max_steps=list(UNROLLED),
            unroll_explicit=True,
        ),
        schedule_rule.RandomComputeLocation(),
    ]  # fmt: skip
    after = [
        postproc.DisallowDynamicLoop(),
        postproc.RewriteParallelVectorizeUnroll(),
        postproc.RewriteReductionBlock(),
        *([postproc.RewriteTensorize(vectorize_init_loop=True)] if instruction else []),
    ]
    mutators = {mutator.MutateTileSize(): 0.9, mutator.MutateComputeLocation(): 0.05, mutator.MutateUnroll(): 0.05}
    return PostOrderApply(sch_rules=rules, postprocs=after, mutator_probs=mutators)


@derived_object
class _Builder(PyBuilder):  # type: ignore[misc]
    """Compiles as the product does."""

    def __init__(self, folder: Path, job: MetaJob, definition: Definition) -> None:
        super().__init__()
        self.folder, self.job, self.definition = folder, job, definition
        poison = folder / "poison"
        self.poison = set(poison.read_text().split()) if poison.exists() else set()

    def build(self, build_inputs: list[BuilderInput]) -> list[BuilderResult]:
        return [self._build(item.mod["main"]) for item in build_inputs]

    def _build(self, func: Any) -> BuilderResult:
        name = digest(func.script())
        if name in self.poison:
            return BuilderResult(None, "the compiler crashes on it")
        print(f"start {name}", flush=True)
        try:
            made = compile_kernel(func, self.job.cpu)
            path = self.folder / f"{made.symbol}.o"
            if not path.exists():
                shutil.copyfile(made.path, path)
        except Exception as error:  # a candidate may fail in any way that TVM knows
            return BuilderResult(None, f"{type(error).__name__}: {error}"[:300])
        place = self.folder / "artifacts" / name  # a folder of its own
        place.mkdir(parents=True, exist_ok=True)
        write_whole(place / "built", Built(made.symbol, made.steps, path, self.definition.arguments))
        return BuilderResult(str(place / "built"), None)


@derived_object
class _Future(PyRunnerFuture):  # type: ignore[misc]
    """An answer that is there."""

    def __init__(self, cost: float) -> None:
        super().__init__()
        self.cost = cost

    def done(self) -> bool:
        return True

    def result(self) -> RunnerResult:
        if self.cost > 0:
            return RunnerResult([self.cost / UNIT_PER_S], None)
        return RunnerResult(None, "rejected")


@derived_object
class _Runner(PyRunner):  # type: ignore[misc]
    """Has the parent measure."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.count, self.parent = folder, 0, os.getppid()

    def run(self, runner_inputs: list[RunnerInput]) -> list[Any]:
        self.count += 1
        built = [pickle.loads(Path(item.artifact_path).read_bytes()) for item in runner_inputs]
        name = f"{os.getpid()}-{self.count}"
        write_whole(self.folder / f"{name}.built", built)
        print(f"measure {name}", flush=True)
        answer = self.folder / f"{name}.answer"
        while not answer.exists():
            if os.getppid() != self.parent:
                sys.exit(1)
            time.sleep(POLL_S)
        return [_Future(cost) for cost in pickle.loads(answer.read_bytes())]
