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


def widen(w: Writer, value: str, lanes: int, source: Element, target: Element) -> str:
    """``value``, numbers as they lie in memory, as numbers that sums are formed of; exact wherever it can be."""
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
    """
    have, want = Vector(lanes, source.stored), Vector(lanes, target.stored)
    if source.name == target.name:
        return value
    if target.name == "bfloat16":
        return _bfloat(w, value, lanes)
    if not target.whole:
        if source.whole:
            return w.value(f"sitofp {have} {value} to {want}")
        return w.value(f"{'fpext' if have.bytes < want.bytes else 'fptrunc'} {have} {value} to {want}")
    low, high = limits(target)
    if not source.whole:
        held = Vector(lanes, "i32" if target.bytes < 4 else "i64")
        if target.bytes < 4:  # wider limits are not numbers that the type of the sums holds
            value = _clamp(w, value, have, f"{low:.1f}", f"{high:.1f}", "minnum", "maxnum", "nnan ")
        value = w.call(str(have), f"llvm.rint.{have.suffix}", (str(have), value))
        if target.bytes >= 4:
            return w.call(
                str(want),
                f"llvm.fpto{'s' if target.signed else 'u'}i.sat.{want.suffix}.{have.suffix}",
                (str(have), value),
            )
        value, have = w.value(f"fptosi {have} {value} to {held}"), held
        return w.value(f"trunc {have} {value} to {want}")
    if ITEM_BYTES[have.scalar] < ITEM_BYTES[want.scalar] and source.signed >= target.signed:
        if not target.signed:
            value = _clamp(w, value, have, "0", str(limits(source)[1]), "smin", "smax")
        return w.value(f"{'sext' if source.signed else 'zext'} {have} {value} to {want}")
    if have.scalar == want.scalar:
        return value
    value = _clamp(w, value, have, str(low), str(high), "smin", "smax")
    return w.value(f"trunc {have} {value} to {want}")


def limits(element: Element) -> tuple[int, int]:
    """The least and the largest number of an integer type."""
    bits = 8 * element.bytes
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if element.signed else (0, (1 << bits) - 1)


def _clamp(w: Writer, value: str, kind: Vector, low: str, high: str, least: str, largest: str, flags: str = "") -> str:
    for name, limit in ((largest, low), (least, high)):
        bound = w.fill(kind, limit)
        whole = f"llvm.{name}.{kind.suffix}"
        w.declared[whole] = f"declare {kind} @{whole}({kind}, {kind})"
        value = w.value(f"call {flags}{kind} @{whole}({kind} {value}, {kind} {bound})")
    return value


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
    chosen = w.value(f"select {kind_mask(lanes)} {is_nan}, {whole} {quiet}, {whole} {shifted}")
    return w.value(f"trunc {whole} {chosen} to {half}")


def kind_mask(lanes: int) -> str:
    """The type of one bit a lane."""
    return f"<{lanes} x i1>"
