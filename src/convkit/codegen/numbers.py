"""Numbers of one type become numbers of another, vector by vector: from memory to sums, and from sums to memory."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer

STORED = {
    "float32": "float", "float64": "double", "float16": "half", "bfloat16": "i16",
    "bool": "i8", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "uint8": "i8", "uint16": "i16", "uint32": "i32", "uint64": "i64",
}  # fmt: skip
"""What each element type is in memory, as LLVM names it; bfloat16 is the upper half of a float32."""

REAL = ("float32", "float64")
"""Types that sums of real numbers are formed in."""

HALVES = ("float16", "bfloat16")
"""Types that numbers are stored in and nothing is summed in."""


@dataclass(frozen=True, slots=True)
class Element:
    """An element type, by NumPy's name."""

    name: str

    @property
    def stored(self) -> str:
        """The LLVM type in memory."""
        return STORED[self.name]

    @property
    def bytes(self) -> int:
        """Bytes of one number."""
        return ITEM_BYTES[self.stored]

    @property
    def signed(self) -> bool:
        """Whether it is an integer with a sign."""
        return self.name.startswith("int")

    @property
    def whole(self) -> bool:
        """Whether it is an integer."""
        return self.stored[0] == "i" and self.name != "bfloat16"


@dataclass(frozen=True, slots=True)
class Stored:
    """Numbers of type ``number`` that lie in memory as ``stored``: widened when they are read, rounded when written.

    Attributes
    ----------
    number, stored : str
        Element types, by NumPy's names; ``stored`` is ``number`` where none is named.
    """

    number: str
    stored: str = ""

    @property
    def element(self) -> Element:
        """What lies in memory."""
        return Element(self.stored or self.number)

    @property
    def scalar(self) -> str:
        """The LLVM type in memory."""
        return self.element.stored

    @property
    def bytes(self) -> int:
        """Bytes of one number in memory."""
        return self.element.bytes

    def load(self, w: Writer, lanes: int, place: str, mask: str | None = None) -> str:
        """A vector; the lanes that ``mask`` leaves out are zero and their memory is not touched."""
        found = w.load(Vector(lanes, self.scalar), place, mask)
        return widen(w, found, lanes, self.element, Element(self.number))

    def store(self, w: Writer, lanes: int, value: str, place: str, mask: str | None = None) -> None:
        """Store the lanes that ``mask`` names, or all."""
        w.store(Vector(lanes, self.scalar), narrow(w, value, lanes, Element(self.number), self.element), place, mask)


def named(name: str, stored: str) -> str:
    """A kernel's name, with the type of what it reads or writes if that is another than its numbers'."""
    return f"{name}_{stored}" if stored else name


def stored_as(stored: str, number: str) -> str:
    """How kernels of numbers of one type are told of the type in memory: not at all where it is the same."""
    return "" if stored == number else stored


def widen(w: Writer, value: str, lanes: int, source: Element, target: Element) -> str:
    """``value``, numbers as they lie in memory, as numbers that sums are formed of; exact wherever it can be.

    Raises
    ------
    ValueError
        If numbers with fractions were to become integers.
    """
    if target.whole and not source.whole:
        raise ValueError(f"{source.name} does not become {target.name}")
    have, want = Vector(lanes, source.stored), Vector(lanes, target.stored)
    if source.name == "bfloat16":
        whole = Vector(lanes, "i32")
        long = w.value(f"zext {have} {value} to {whole}")
        shifted = w.value(f"shl {whole} {long}, {w.fill(whole, '16')}")
        value, have = w.value(f"bitcast {whole} {shifted} to {Vector(lanes, 'float')}"), Vector(lanes, "float")
    if str(have) == str(want):
        return value
    if source.whole and target.whole:
        if ITEM_BYTES[have.scalar] > ITEM_BYTES[want.scalar]:
            return w.value(f"trunc {have} {value} to {want}")
        return w.value(f"{'sext' if source.signed else 'zext'} {have} {value} to {want}")
    if source.whole:
        if ITEM_BYTES[have.scalar] < 4:  # conversions start from 32 bits
            middle = Vector(lanes, "i32")
            value, have = w.value(f"{'sext' if source.signed else 'zext'} {have} {value} to {middle}"), middle
            return w.value(f"sitofp {have} {value} to {want}")
        return w.value(f"{'sitofp' if source.signed else 'uitofp'} {have} {value} to {want}")
    return w.value(f"{'fpext' if have.bytes < want.bytes else 'fptrunc'} {have} {value} to {want}")


def narrow(w: Writer, value: str, lanes: int, source: Element, target: Element) -> str:
    """``value``, sums, as they are stored: rounded once, half to even; what does not fit an integer is saturated.

    The sums are not NaN where integers are stored.

    Raises
    ------
    ValueError
        If sums of this type would be rounded twice: bfloat16 is made of float32 alone.
    """
    have, want = Vector(lanes, source.stored), Vector(lanes, target.stored)
    if source.name == target.name:
        return value
    if target.name == "bfloat16":
        if source.name != "float32":
            raise ValueError(f"bfloat16 is made of float32, not of {source.name}")
        return _bfloat(w, value, lanes)
    if source.whole:
        return _whole(w, value, lanes, source, target)
    if source.name in HALVES and target.name in REAL:
        return widen(w, value, lanes, source, target)
    if not target.whole:
        if (source.name, target.name) == ("float64", "float16"):
            value, have = _odd(w, value, lanes), Vector(lanes, "float")
        return w.value(f"{'fpext' if have.bytes < want.bytes else 'fptrunc'} {have} {value} to {want}")
    if target.bytes < 4:  # wider limits are not numbers that the type of the sums holds
        low, high = limits(target)
        value = _bounded(w, value, have, "maxnum", f"{low:.1f}", "nnan ")
        value = _bounded(w, value, have, "minnum", f"{high:.1f}", "nnan ")
    value = w.call(str(have), f"llvm.rint.{have.suffix}", (str(have), value))
    if target.bytes >= 4:
        name = f"llvm.fpto{'s' if target.signed else 'u'}i.sat.{want.suffix}.{have.suffix}"
        return w.call(str(want), name, (str(have), value))
    held = Vector(lanes, "i32")
    return w.value(f"trunc {held} {w.value(f'fptosi {have} {value} to {held}')} to {want}")


def _whole(w: Writer, value: str, lanes: int, source: Element, target: Element) -> str:
    """Sums that are integers."""
    have, want = Vector(lanes, source.stored), Vector(lanes, target.stored)
    if not target.whole:
        return w.value(f"{'sitofp' if source.signed else 'uitofp'} {have} {value} to {want}")
    (low, high), (lowest, highest) = limits(target), limits(source)
    if low > lowest:
        value = _bounded(w, value, have, "smax", str(low))
    if high < highest:
        value = _bounded(w, value, have, "smin" if source.signed else "umin", str(high))
    if source.bytes == target.bytes:
        return value
    longer = "sext" if source.signed else "zext"
    return w.value(f"{'trunc' if source.bytes > target.bytes else longer} {have} {value} to {want}")


def limits(element: Element) -> tuple[int, int]:
    """The least and the largest number of an integer type."""
    bits = 8 * element.bytes
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if element.signed else (0, (1 << bits) - 1)


def _bounded(w: Writer, value: str, kind: Vector, name: str, limit: str, flags: str = "") -> str:
    """The smaller or the larger of each number and a limit."""
    bound, whole = w.fill(kind, limit), f"llvm.{name}.{kind.suffix}"
    w.declared[whole] = f"declare {kind} @{whole}({kind}, {kind})"
    return w.value(f"call {flags}{kind} @{whole}({kind} {value}, {kind} {bound})")


def _bfloat(w: Writer, value: str, lanes: int) -> str:
    """The upper half of a float32, rounded half to even; a NaN stays one."""
    whole, half, kind = Vector(lanes, "i32"), Vector(lanes, "i16"), Vector(lanes, "float")
    bits = w.value(f"bitcast {kind} {value} to {whole}")
    upper = w.value(f"lshr {whole} {bits}, {w.fill(whole, '16')}")
    odd = w.value(f"and {whole} {upper}, {w.fill(whole, '1')}")
    rounded = w.value(f"add {whole} {w.value(f'add {whole} {bits}, {odd}')}, {w.fill(whole, str(0x7FFF))}")
    shifted = w.value(f"lshr {whole} {rounded}, {w.fill(whole, '16')}")
    quiet = w.value(f"or {whole} {upper}, {w.fill(whole, '64')}")
    is_nan = w.value(f"fcmp uno {kind} {value}, {value}")
    chosen = w.value(f"select {kind.mask} {is_nan}, {whole} {quiet}, {whole} {shifted}")
    return w.value(f"trunc {whole} {chosen} to {half}")


def _odd(w: Writer, value: str, lanes: int) -> str:
    """float64 as float32, of whose two neighbours the odd one stands for what lies between.

    Rounded further, that gives what rounding at once would; not all processors go from float64 to float16 in one step.
    """
    double, single, whole = (Vector(lanes, scalar) for scalar in ("double", "float", "i32"))
    near = w.value(f"fptrunc {double} {value} to {single}")
    back = w.value(f"fpext {single} {near} to {double}")
    bits = w.value(f"bitcast {single} {near} to {whole}")
    magnitudes = [w.call(str(double), f"llvm.fabs.{double.suffix}", (str(double), number)) for number in (value, back)]
    over = w.value(f"fcmp ogt {double} {magnitudes[0]}, {magnitudes[1]}")
    other = w.value(f"select {whole.mask} {over}, {whole} {w.fill(whole, '1')}, {whole} {w.fill(whole, '-1')}")
    low = w.value(f"and {whole} {bits}, {w.fill(whole, '1')}")
    even = w.value(f"icmp eq {whole} {low}, zeroinitializer")
    between = w.value(f"fcmp one {double} {value}, {back}")
    moves = w.value(f"and {whole.mask} {even}, {between}")
    moved = w.value(f"select {whole.mask} {moves}, {whole} {other}, {whole} zeroinitializer")
    return w.value(f"bitcast {whole} {w.value(f'add {whole} {bits}, {moved}')} to {single}")
