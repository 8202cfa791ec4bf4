"""A call written as text, taken apart without running it: the function's full name and its arguments by parameter."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from convkit.errors import ConvError
from convkit.spec.dialects import DIALECTS

_VERBS: Mapping[str, str] = {
    "convkit.convolve": "x, k, mode='full', *, boundary='zero', fill=0, stride=1, dilation=1, axes=None, anchor=None, "
    "dtype=None, overflow='raise', nan='propagate', weights=None, mask=None, accuracy='norm', method='auto', out=None",
    "convkit.conv": "x, w, bias=None, *, stride=1, padding=0, dilation=1, groups=1, boundary='zero', fill=0, "
    "operation='correlation', dtype=None, overflow='raise', accuracy='norm', method='auto', out=None",
    "convkit.conv_transpose": "x, w, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, "
    "operation='correlation', dtype=None, overflow='raise', accuracy='norm', method='auto', out=None",
}
CONVKIT: Mapping[str, str] = {**_VERBS, "convkit.correlate": _VERBS["convkit.convolve"]}

_MODULES = {
    "np": "numpy",
    "sp.signal": "scipy.signal",
    "signal": "scipy.signal",
    "sp.ndimage": "scipy.ndimage",
    "ndimage": "scipy.ndimage",
    "ndi": "scipy.ndimage",
    "cv": "cv2",
    "F": "torch.nn.functional",
    "nn.functional": "torch.nn.functional",
    "torch": "torch.nn.functional",
    "tensorflow.nn": "tf.nn",
    "astropy": "astropy.convolution",
    "matlab": "",
    "ck": "convkit",
    "onnx.op": "onnx",
}
_LONG_SIGNATURE = 40


class CallError(ConvError):
    """A call, written as text, that cannot be understood or said in other words."""

    family = "call"


@dataclass(frozen=True, slots=True)
class Expression:
    """An argument that is not a literal: its source text."""

    text: str

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Call:
    """A function's full name, the arguments that were given, and all of them with the defaults filled in."""

    name: str
    given: Mapping[str, object]
    arguments: Mapping[str, object]
    extra: tuple[object, ...] = ()

    def __getitem__(self, parameter: str) -> object:
        return self.arguments[parameter]

    def text(self, parameter: str) -> str:
        """The argument as source text."""
        value = self.arguments[parameter]
        return value.text if isinstance(value, Expression) else repr(value)


@dataclass(frozen=True, slots=True)
class _Signature:
    positional: tuple[str, ...]
    keyword_only: tuple[str, ...]
    defaults: Mapping[str, object]
    gathers: bool

    @property
    def names(self) -> tuple[str, ...]:
        return self.positional + self.keyword_only


def signature(name: str) -> _Signature:
    """The parameters of a known function."""
    text = CONVKIT[name] if name in CONVKIT else DIALECTS[name].signature
    lambda_ = ast.parse(f"lambda {text}: 0", mode="eval").body
    assert isinstance(lambda_, ast.Lambda)
    given = lambda_.args
    positional = tuple(item.arg for item in given.args)
    keyword_only = tuple(item.arg for item in given.kwonlyargs)
    pairs = list(zip(positional[len(positional) - len(given.defaults) :], given.defaults, strict=True))
    pairs += [(word, node) for word, node in zip(keyword_only, given.kw_defaults, strict=True) if node is not None]
    return _Signature(
        positional, keyword_only, {word: ast.literal_eval(node) for word, node in pairs}, given.vararg is not None
    )


def read(text: str) -> Call:
    """Take a call apart: its function, and which argument goes to which parameter.

    Nothing is evaluated: literals become values, everything else stays text.

    Raises
    ------
    CallError
        ``call.not-a-call``, ``call.unknown-function``, ``call.unknown-parameter``, ``call.too-many-arguments``,
        ``call.twice``, ``call.missing-argument``.

    Examples
    --------
    >>> call = read("np.convolve(a, [1, 2], mode='same')")
    >>> call.name, call["mode"], call["v"], call.text("a")
    ('numpy.convolve', 'same', [1, 2], 'a')
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        node = None
    if not isinstance(node, ast.Call):
        raise CallError("not-a-call", text=_shortened(text))
    name = _full_name(_dotted(node.func) or "", text)
    form = signature(name)
    given: dict[str, object] = {}
    extra: list[object] = []
    for position, argument in enumerate(node.args):
        if isinstance(argument, ast.Starred):
            raise CallError("not-a-call", text=_shortened(text))
        if position < len(form.positional):
            given[form.positional[position]] = _value(argument)
        elif form.gathers:
            extra.append(_value(argument))
        else:
            raise CallError("too-many-arguments", function=name, count=len(node.args), most=len(form.positional),
                            parameters=", ".join(form.positional))  # fmt: skip
    for keyword in node.keywords:
        if keyword.arg is None:
            raise CallError("not-a-call", text=_shortened(text))
        if keyword.arg not in form.names:
            near = get_close_matches(keyword.arg, form.names, n=1, cutoff=0.4)
            raise CallError("unknown-parameter", function=name, parameter=keyword.arg, parameters=", ".join(form.names),
                            guess=f"{near[0]}=" if near else " | ".join(form.names))  # fmt: skip
        if keyword.arg in given:
            raise CallError("twice", function=name, parameter=keyword.arg)
        given[keyword.arg] = _value(keyword.value)
    missing = [word for word in form.names if word not in given and word not in form.defaults]
    if missing:
        raise CallError("missing-argument", function=name, parameter=missing[0], parameters=", ".join(form.names))
    return Call(name, given, {**form.defaults, **given}, tuple(extra))


def literal(call: Call, parameter: str) -> object:
    """The value of an option; it must be written out in the call.

    Raises
    ------
    CallError
        ``call.not-a-literal``.
    """
    value = call[parameter]
    if isinstance(value, Expression):
        raise CallError("not-a-literal", function=call.name, parameter=parameter, value=value.text)
    return value


def _value(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return Expression(ast.unparse(node))


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _full_name(written: str, text: str) -> str:
    known = {**DIALECTS, **CONVKIT}
    module, _, function = written.rpartition(".")
    for name in (written, f"{_MODULES.get(module, module)}.{function}".lstrip(".")):
        if name in known:
            return name
    names = list(known)
    near = get_close_matches(written, names, n=3, cutoff=0.5)
    # The same function name in another module is a better guess than similar letters.
    same = [name for name in names if name.rpartition(".")[2].lower() == function.lower()]
    guess = " | ".join(dict.fromkeys([*same, *near][:4])) or " | ".join(
        sorted({n.rpartition(".")[0] or "matlab" for n in names})
    )
    raise CallError("unknown-function", function=written or _shortened(text), guess=guess)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONG_SIGNATURE else line[: _LONG_SIGNATURE - 3] + "..."
