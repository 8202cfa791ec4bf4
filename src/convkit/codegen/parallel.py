"""The loops that run programs, as LLVM IR: a task's steps in order, and tasks shared among threads.

A job is a row of stages, a program each. Whoever takes part claims the next task of a stage from a counter until none
is left, every second participant from the last one on: so whoever does a layer again finds in its own core's cache what
it read and wrote there, instead of asking the other core for it, and halves of layers that follow each other meet on
one core. Whoever finds no task waits until those that others claimed are done, and goes on to the next stage; so nobody
waits for a thread that does not come, only for tasks that are being done. A worker announces itself in ``inside`` and
then looks again whether the job is still open; the caller closes the job and waits until nobody is inside, so that no
worker can meet a job that is over. A worker that finds no job for a while says that it is no longer awake, looks once
more, and returns to Python, where it sleeps; the caller opens the job first and then wakes whoever is not awake, so
that nobody misses it.
"""

from __future__ import annotations

from convkit.codegen.builder import Writer
from convkit.codegen.step import BASES, WORDS

LINE = 8
"""Words of a cache line: what several threads write stands apart from what they read."""

NEXT, DONE, STEPS, STARTS, TASKS, BASES_AT, ENTERED = 0, LINE, *range(2 * LINE, 2 * LINE + 4), 3 * LINE
STAGE_WORDS = ENTERED + -(-BASES // LINE) * LINE
"""Words of a stage: tasks claimed; tasks done; the program and where its bases are; room for these bases."""

BACKWARDS = 1 << 32
"""What tasks claimed from the end count; those claimed from the beginning count 1."""

OPEN, INSIDE, JOB = 0, LINE, 2 * LINE
STAGES, COUNT, SCRATCH, SCRATCH_BYTES, JOINED, YIELD, NUMBER = range(JOB, JOB + 7)
STAGE = 3 * LINE
AWAKE = STAGE + STAGE_WORDS
MOST_WORKERS = 255
CONTEXT_WORDS = AWAKE + (MOST_WORKERS + 1) * LINE
"""Words of a pool's context: the number of the open job, or 0; workers inside; the job itself: its stages, scratch
memory, how many of another library's threads have joined it, the system's function that yields the processor, or 0, and
that library's function that numbers its threads, or 0; the stage of a job that has one alone; and, a line for each,
whether workers are awake."""

TURNS = 1 << 10
"""Turns that a thread waits for tasks of others before it lets the system run somebody else: a power of two."""

SPINS = 20_000
"""Turns that the caller waits for workers before it lets Python yield the processor."""


def module(pause: str) -> str:
    """All of them; ``pause`` is the hint of waiting loops."""
    return "\n".join((_execute(), _take_part(pause), _open(), _work(), _join(), _end(pause), _serve(pause)))


def pause_of(triple: str) -> str:
    """The instruction by which a waiting loop leaves the core to others; none where it is not known."""
    if triple.startswith(("x86_64", "amd64")):
        return "call void @llvm.x86.sse2.pause()"
    return "call void @llvm.aarch64.hint(i32 1)" if triple.startswith(("aarch64", "arm64")) else ""


def _declaration(pause: str) -> str:
    return pause.replace("call", "declare").replace("i32 1", "i32") if pause else ""


def _steps(w: Writer, task: str, steps: str, starts: str, bases: str) -> None:
    """All steps of one task."""
    first = w.load_scalar("i64", w.element(starts, task, "i64"))
    end = w.load_scalar("i64", w.element(starts, w.add(task, 1), "i64"))
    loop = w.loop("step", w.subtract(end, first))
    step = w.element(steps, w.multiply(w.add(first, loop.index), WORDS), "i64")
    kernel = w.load_scalar("ptr", step)
    w.line(f"call void {kernel}(ptr {bases}, ptr {w.element(step, 1, 'i64')})")
    loop.close()


def _execute() -> str:
    """Every task, on this thread alone."""
    w = Writer()
    tasks = w.loop("task", "%count")
    _steps(w, tasks.index, "%steps", "%starts", "%bases")
    tasks.close()
    w.line("ret void")
    return w.function("execute", ("ptr %bases", "ptr %steps", "ptr %starts", "i64 %count"))


def _take_part(pause: str) -> str:
    """Go through the stages; participant ``n`` has the ``n``-th part of the scratch memory."""
    w = Writer()
    bases = w.value(f"alloca [{BASES} x ptr]")
    count, scratch, bytes_, yields = (
        w.load_scalar("i64", w.element("%context", at, "i64")) for at in (COUNT, SCRATCH, SCRATCH_BYTES, YIELD)
    )  # fmt: skip
    stages = w.load_scalar("ptr", w.element("%context", STAGES, "i64"))
    own = w.add(scratch, w.multiply("%participant", bytes_))
    last = w.subtract(count, 1)
    backwards = w.value("trunc i64 %participant to i1")
    claim = w.value(f"select i1 {backwards}, i64 {BACKWARDS}, i64 1")
    loop = w.loop("stage", count)
    stage = w.element(stages, w.multiply(loop.index, STAGE_WORDS), "i64")
    steps, starts, given = (w.load_scalar("ptr", w.element(stage, at, "i64")) for at in (STEPS, STARTS, BASES_AT))
    tasks = w.load_scalar("i64", w.element(stage, TASKS, "i64"))
    done = w.element(stage, DONE, "i64")
    w.call("void", "llvm.memcpy.p0.p0.i64", ("ptr", bases), ("ptr", given), ("i64", str(8 * BASES)), ("i1", "0"))
    w.line(f"store i64 {own}, ptr {bases}")
    w.line("br label %claim")
    w.begin("claim")
    counts = w.value(f"atomicrmw add ptr {w.element(stage, NEXT, 'i64')}, i64 {claim} seq_cst")
    first, behind = w.value(f"and i64 {counts}, {BACKWARDS - 1}"), w.value(f"lshr i64 {counts}, 32")
    w.line(f"br i1 {w.value(f'icmp slt i64 {w.add(first, behind)}, {tasks}')}, label %claimed, label %none")
    w.begin("claimed")
    task = w.value(f"select i1 {backwards}, i64 {w.subtract(w.subtract(tasks, 1), behind)}, i64 {first}")
    _steps(w, task, steps, starts, bases)
    w.value(f"atomicrmw add ptr {done}, i64 1 seq_cst")
    w.line("br label %claim")
    w.begin("none")
    w.line(f"br i1 {w.value(f'icmp eq i64 {loop.index}, {last}')}, label %past, label %look")
    w.begin("look")
    at = len(w.lines)
    finished = w.value(f"load atomic i64, ptr {done} seq_cst, align 8")
    w.line(f"br i1 {w.value(f'icmp sge i64 {finished}, {tasks}')}, label %past, label %idle")
    w.begin("idle")
    if pause:
        w.line(pause)
    later = w.add("%turn", 1)
    long = w.value(f"icmp eq i64 {w.value(f'and i64 {later}, {TURNS - 1}')}, 0")
    polite = w.value(f"icmp ne i64 {yields}, 0")
    w.line(f"br i1 {w.value(f'and i1 {long}, {polite}')}, label %give_way, label %again")
    w.begin("give_way")
    w.value(f"call i32 {w.value(f'inttoptr i64 {yields} to ptr')}()")
    w.line("br label %again")
    w.begin("again")
    w.line("br label %look")
    w.lines.insert(at, f"  %turn = phi i64 [ 0, %none ], [ {later}, %again ]")
    w.begin("past")
    loop.close()
    w.line("ret void")
    return w.function("take_part", ("ptr %context", "i64 %participant"))


def _open() -> str:
    """Open the job that stands in the context under ``number``."""
    w = Writer()
    w.line("store atomic i64 %number, ptr %context seq_cst, align 8")
    w.line("fence seq_cst")  # whoever is asleep is looked for in Python, by plain loads, and only after this
    w.line("ret void")
    return w.function("open_job", ("ptr %context", "i64 %number"))


def _work() -> str:
    """Take part in the open job, and end it."""
    w = Writer()
    w.line("call void @take_part(ptr %context, i64 0)")
    w.line(f"ret i64 {w.value('call i64 @end(ptr %context)')}")
    return w.function("work", ("ptr %context",), "i64")


def _join() -> str:
    """Take part in a job that another library's threads do, by the number of the thread, or as the next participant.

    Nobody else sees the job. With numbers a thread does again the tasks that it did before.
    """
    w = Writer()
    number = w.load_scalar("i64", w.element("%context", NUMBER, "i64"))
    w.line(f"br i1 {w.value(f'icmp eq i64 {number}, 0')}, label %next, label %numbered")
    w.begin("next")
    joined = w.value(f"atomicrmw add ptr {w.element('%context', JOINED, 'i64')}, i64 1 seq_cst")
    w.line("br label %join")
    w.begin("numbered")
    asked = w.value(f"inttoptr i64 {number} to ptr")
    own = w.value(f"sext i32 {w.value(f'call i32 {asked}()')} to i64")
    w.line("br label %join")
    w.begin("join")
    participant = w.value(f"phi i64 [ {joined}, %next ], [ {own}, %numbered ]")
    w.line(f"call void @take_part(ptr %context, i64 {participant})")
    w.line("ret void")
    return w.function("join", ("ptr %context",))


def _end(pause: str) -> str:
    """Close the job, wait a while until no worker is inside, and give back how many still are."""
    w = Writer()
    w.line("store atomic i64 0, ptr %context seq_cst, align 8")
    w.line("br label %look")
    w.begin("look")
    at = len(w.lines)
    inside = w.value(f"load atomic i64, ptr {w.element('%context', INSIDE, 'i64')} seq_cst, align 8")
    waits = w.value(f"icmp sgt i64 {inside}, 0")
    patient = w.value(f"icmp slt i64 %turn, {SPINS}")
    w.line(f"br i1 {w.value(f'and i1 {waits}, {patient}')}, label %again, label %done")
    w.begin("again")
    if pause:
        w.line(pause)
    later = w.add("%turn", 1)
    w.line("br label %look")
    w.begin("done")
    w.line(f"ret i64 {inside}")
    w.lines.insert(at, f"  %turn = phi i64 [ 0, %entry ], [ {later}, %again ]")
    return w.function("end", ("ptr %context",), "i64") + _declaration(pause) + "\n"


def _serve(pause: str) -> str:
    """Take part in jobs as they come, each once, until none has come for ``patience`` turns; the last job's number."""
    w = Writer()
    inside = w.element("%context", INSIDE, "i64")
    awake = w.element("%context", w.add(w.multiply("%participant", LINE), AWAKE), "i64")
    w.line("br label %wake")
    w.begin("wake")
    woken = len(w.lines)
    w.line(f"store atomic i64 1, ptr {awake} seq_cst, align 8")
    w.line("br label %look")
    w.begin("look")
    at = len(w.lines)
    number = w.value("load atomic i64, ptr %context seq_cst, align 8")
    w.line(f"br i1 {_is_new(w, number, '%known')}, label %enter, label %idle")
    w.begin("enter")
    w.value(f"atomicrmw add ptr {inside}, i64 1 seq_cst")
    again = w.value("load atomic i64, ptr %context seq_cst, align 8")
    w.line(f"br i1 {w.value(f'icmp eq i64 {again}, {number}')}, label %work, label %leave")
    w.begin("work")
    w.line("call void @take_part(ptr %context, i64 %participant)")
    w.line("br label %leave")
    w.begin("leave")
    met = w.value(f"phi i64 [ %known, %enter ], [ {number}, %work ]")
    w.value(f"atomicrmw sub ptr {inside}, i64 1 seq_cst")
    w.line("br label %look")
    w.begin("idle")
    if pause:
        w.line(pause)
    later = w.add("%turn", 1)
    w.line(f"br i1 {w.value(f'icmp slt i64 {later}, %patience')}, label %look, label %retire")
    w.begin("retire")
    w.line(f"store atomic i64 0, ptr {awake} seq_cst, align 8")
    last = w.value("load atomic i64, ptr %context seq_cst, align 8")
    w.line(f"br i1 {_is_new(w, last, '%known')}, label %wake, label %done")
    w.begin("done")
    w.line("ret i64 %known")
    w.lines[at:at] = [
        f"  %turn = phi i64 [ 0, %wake ], [ 0, %leave ], [ {later}, %idle ]",
        f"  %known = phi i64 [ %before, %wake ], [ {met}, %leave ], [ %known, %idle ]",
    ]
    w.lines.insert(woken, "  %before = phi i64 [ %last, %entry ], [ %known, %retire ]")
    return w.function("serve", ("ptr %context", "i64 %participant", "i64 %patience", "i64 %last"), "i64")


def _is_new(w: Writer, number: str, known: str) -> str:
    """Whether a job is open, and another than the one known."""
    is_open = w.value(f"icmp ne i64 {number}, 0")
    return w.value(f"and i1 {is_open}, {w.value(f'icmp ne i64 {number}, {known}')}")
