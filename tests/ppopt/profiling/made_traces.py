"""Makes traces like torch.profiler's from a schedule: with noise, clock offsets, GPU streams and copies of ranks."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ppopt import Block, Op, Schedule

SECONDS = 1_790_857_026
COSTS = {"forward": 5.0, "backward": 9.5, "backward_input": 5.5, "backward_weight": 4.5}
ONE_THREAD = 77


class Ran(NamedTuple):
    action: Op | Block
    free: float
    arrivals: dict[Op, float]
    start: float
    end: float


@dataclass
class Machine:
    """The machine that runs and records a schedule."""

    steps: int = 4
    noise: float = 0.0
    warm_up: float = 3.0
    pause: float = 2.0
    overhead: float = 0.0
    offsets: Sequence[float] = ()
    on_gpu: bool = False
    base: bool = True
    hosts: Sequence[str] = ("host",)
    step_marks: bool = False
    seed: int = 1
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def run(self, schedule: Schedule) -> list[list[Ran]]:
        """Return the operations of each device in all steps, in milliseconds."""
        ran: list[list[Ran]] = [[] for _ in schedule.actions]
        begin = 100.0
        for step in range(self.steps):
            slower = self.warm_up if step == 0 else 1.0
            for device, actions in enumerate(self._step(schedule, begin, slower)):
                ran[device] += actions
            begin = max(actions[-1].end for actions in ran) + self.pause
        return ran

    def _step(self, schedule: Schedule, begin: float, slower: float) -> list[list[Ran]]:
        latency = float(schedule.pipeline.p2p_latency)
        places = [0] * len(schedule.actions)
        ended: dict[tuple[str, int, int], tuple[int, float]] = {}
        ran: list[list[Ran]] = [[] for _ in schedule.actions]
        while any(place < len(order) for place, order in zip(places, schedule.actions, strict=True)):
            before = sum(places)
            for device, order in enumerate(schedule.actions):
                while places[device] < len(order):
                    action = order[places[device]]
                    inputs = _inputs(action, schedule.pipeline.stages or 0)
                    if not all(key in ended for keys in inputs.values() for key in keys):
                        break
                    free = ran[device][-1].end if ran[device] else begin
                    arrivals = {
                        op: ended[key][1] + latency
                        for op, keys in inputs.items()
                        for key in keys
                        if ended[key][0] != device
                    }
                    start = max([free, *arrivals.values()]) + self.overhead
                    end = start + slower * self._duration(schedule, action)
                    ran[device].append(Ran(action, free, arrivals, start, end))
                    for op in inputs:
                        ended["F" if op.kind == "F" else "B" if op.kind in "BI" else "W", op.stage, op.microbatch] = (
                            device,
                            end,
                        )
                    places[device] += 1
            assert sum(places) > before, "deadlock"
        return ran

    def _duration(self, schedule: Schedule, action: Op | Block) -> float:
        kinds = {"F": "forward", "B": "backward", "I": "backward_input", "W": "backward_weight"}
        if isinstance(action, Block):
            exact = schedule.pipeline.block_duration(action.first.stage, action.second.stage)
        else:
            exact = getattr(schedule.pipeline.costs[action.stage], kinds[action.kind])
        return float(exact) * (1 + self.noise * self.random.gauss(0, 1))


def _inputs(action: Op | Block, stages: int) -> dict[Op, list[tuple[str, int, int]]]:
    ops = [action.first, action.second] if isinstance(action, Block) else [action]
    found: dict[Op, list[tuple[str, int, int]]] = {}
    for op in ops:
        before, after = ("F", op.stage - 1, op.microbatch), ("B", op.stage + 1, op.microbatch)
        found[op] = [before] if op.kind == "F" and op.stage else []
        found[op] += [after] if op.kind in "BI" and op.stage + 1 < stages else []
    return found


def write_traces(
    folder: Path,
    schedule: Schedule,
    machine: Machine | None = None,
    *,
    copies: int = 1,
    apart: bool = False,
    packed: bool = False,
) -> list[Path]:
    """Write a trace for each rank.

    With copies, the ranks of a device are consecutive (device = rank ÷ copies) or `apart` (device = rank mod p).
    """
    machine = machine or Machine()
    ran = machine.run(schedule)
    devices = len(ran)
    paths = []
    for copy in range(copies):
        for device, actions in enumerate(ran):
            rank = copy * devices + device if apart else device * copies + copy
            ranks = [other * copies + copy if not apart else copy * devices + other for other in range(devices)]
            offset = machine.offsets[device] if machine.offsets else 0.0
            events = list(_events(actions, offset, machine))
            head = _head(rank, devices * copies, ranks, machine, device)
            paths.append(write(folder / f"rank{rank}_trace.json", {**head, "traceEvents": events}, packed=packed))
    return paths


def write(path: Path, content: Any, *, packed: bool = False) -> Path:
    text = json.dumps(content).encode()
    path = path.with_name(path.name + ".gz") if packed else path
    path.write_bytes(gzip.compress(text, 1) if packed else text)
    return path


def write_timers(folder: Path, schedule: Schedule, machine: Machine) -> list[Path]:
    """Write Megatron's timers for each rank, each on a clock of its own."""
    kinds = {"F": "forward", "B": "backward", "I": "backward_input", "W": "backward_weight"}
    paths = []
    for device, actions in enumerate(machine.run(schedule)):
        times: dict[str, list[float]] = {}
        offset = machine.offsets[device] if machine.offsets else 0.0
        for each in actions:
            assert isinstance(each.action, Op)
            chunk = each.action.stage // len(schedule.actions)
            name = f"{kinds[each.action.kind]}-{chunk}-{each.action.microbatch}"
            times.setdefault(f"{name}-start", []).append(each.start + offset)
            times.setdefault(f"{name}-end", []).append(each.end + offset)
        paths.append(write(folder / f"rank{device}.json", times))
    return paths


def write_primus(
    folder: Path, schedule: Schedule, machine: Machine, *, named: bool = False, config: bool = True
) -> list[Path]:
    """Write Primus' logs: iterations from 1, whose clocks begin at 0, with microbatches and chunks if `named`."""
    devices, pipeline = len(schedule.actions), schedule.pipeline
    local = [[stage for stage, _ in each] for each in schedule.layout.local_stages]
    chunks = len(local[0])
    folder.mkdir(exist_ok=True)
    ran = machine.run(schedule)
    paths = []
    for device, actions in enumerate(ran):
        per_step = len(actions) // machine.steps
        iterations = {}
        for step in range(machine.steps):
            begin = min(each[step * (len(each) // machine.steps)].free for each in ran)
            offset = machine.random.uniform(-0.01, 0.01)
            events = actions[step * per_step : (step + 1) * per_step]
            iterations[str(step + 1)] = _primus_events(events, begin + offset, sorted(local[device]), named=named)
        paths.append(write(folder / f"pp_rank_{device}.json", iterations))
    sizes = {"world_size": devices, "pp_size": devices, "vp_size": chunks, "num_mbs": pipeline.microbatches}
    if config:
        write(folder / "config.json", sizes)
    return paths


def _primus_events(events: Sequence[Ran], begin: float, stages: Sequence[int], *, named: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"total": events[-1].end - begin, "memory": 40.0 + events[0].start - events[0].free}
    for each in events:
        ops = [each.action.first, each.action.second] if isinstance(each.action, Block) else [each.action]
        for op in ops:
            name = {"F": "fwd", "B": "bwd", "I": "bwd", "W": "wgrad"}[op.kind]
            values = {"start": each.start - begin, "end": each.end - begin}
            values |= {"minibatch": op.microbatch, "chunk": stages.index(op.stage)} if named else {}
            for key, value in values.items():
                found.setdefault(f"{name}_{key}", []).append(value)
    return found


def _head(rank: int, ranks: int, pipeline: list[int], machine: Machine, device: int) -> dict[str, Any]:
    groups = [list(range(ranks)), pipeline]
    info = {
        "backend": "nccl",
        "rank": rank,
        "world_size": ranks,
        "pg_config": [{"pg_name": str(number), "ranks": group} for number, group in enumerate(groups)],
    }
    base = {"baseTimeNanoseconds": SECONDS * 10**9} if machine.base else {}
    host = machine.hosts[device % len(machine.hosts)]
    return {"schemaVersion": 1, "distributedInfo": info, "host_name": host, "displayTimeUnit": "ms", **base}


def span(name: str, start: float, end: float, cat: str = "user_annotation", tid: int = ONE_THREAD) -> dict[str, Any]:
    return {
        "ph": "X",
        "cat": cat,
        "name": name,
        "pid": 1,
        "tid": tid,
        "ts": round(start * 1000, 3),
        "dur": round((end - start) * 1000, 3),
        "args": {"External id": 1},
    }


def _events(actions: list[Ran], offset: float, machine: Machine) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "name": "process_name", "ts": 0, "pid": 1, "tid": 0, "args": {"name": "python"}}
    yield span("aten::empty", 1, 2, "cpu_op")
    per_step = len(actions) // machine.steps
    for number, (action, free, arrivals, start, end) in enumerate(actions):
        if machine.step_marks and number % per_step == 0:
            last = actions[number + per_step - 1].end
            yield span(f"ProfilerStep#{number // per_step}", free + offset - 0.01, last + offset + 0.01)
        times = (free + offset, start + offset, end + offset)
        shifted = {op: moment + offset for op, moment in arrivals.items()}
        if machine.on_gpu:
            yield from _on_gpu(action, shifted, *times, launched=number * 0.1 + offset)
        else:
            yield from _on_cpu(action, shifted, *times)


def _on_cpu(
    action: Op | Block, arrivals: dict[Op, float], free: float, start: float, end: float
) -> Iterator[dict[str, Any]]:
    post = 0.002
    for op, arrived in arrivals.items():
        way = "F" if op.kind == "F" else "B"
        yield span(f"PP:{op.stage}RECV_{way}{op.microbatch}", free, free + post)
        yield span("c10d::recv_", free + post / 4, free + post / 3, "cpu_op")
        yield span("gloo:recv", free + post / 2, max(arrived, free + post))
    yield span(f"PP:{action}", free + post if arrivals else start, end)
    yield span("aten::mm", start, end, "cpu_op")


def _on_gpu(
    action: Op | Block, arrivals: dict[Op, float], free: float, start: float, end: float, launched: float
) -> Iterator[dict[str, Any]]:
    yield span(f"PP:{action}", launched, launched + 0.05)
    for op, arrived in arrivals.items():
        way = "F" if op.kind == "F" else "B"
        name = f"PP:{op.stage}RECV_{way}{op.microbatch}"
        yield span(name, launched, launched + 0.01)
        yield span(name, min(free, arrived - 0.01), arrived, "gpu_user_annotation", tid=20)
    yield span(f"PP:{action}", start, end, "gpu_user_annotation", tid=7)
    yield span(f"PP:{action}", start + (end - start) / 2, end + 0.5, "gpu_user_annotation", tid=24)
    yield span("sm90_gemm", start, end, "kernel", tid=7)
