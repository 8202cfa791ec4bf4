"""``convkit predict``: what a trained network sees in pictures, and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convkit.catalogue import say
from convkit.cli.learning.arguments import RunFolder, Threads, size_of, threads_for
from convkit.cli.options import Json, Lang

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convkit.nn.runs import Run

MOST_MAPS = 64


def predict_command(
    run: RunFolder,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="cli.predict.images")],
    top: Annotated[int, typer.Option("--top", "-k", help="cli.predict.top")] = 3,
    maps: Annotated[Path | None, typer.Option("--maps", help="cli.predict.maps")] = None,
    size: Annotated[str | None, typer.Option("--size", help="cli.predict.size")] = None,
    channels: Annotated[int | None, typer.Option("--channels", help="cli.predict.channels")] = None,
    threads: Threads = None,
    as_json: Json = False,
    lang: Lang = None,
) -> None:
    """The most likely classes of every picture."""
    from convkit.cli.working import working
    from convkit.errors import OptionError
    from convkit.nn import runs

    if top < 1:
        raise OptionError("too-small", option="top", value=top, least=1)
    with working() as doing:
        doing("cli.step.reading")
        trained = runs.opened(run)
        runs.use_threads(trained.about.shape, threads_for(threads))
        read = [_picture(path, trained, size_of(size), channels) for path in images]
        doing("cli.step.computing")
        answers = [_answer(path, image, trained, top) for path, image in zip(images, read, strict=True)]
        if maps is not None:
            doing("cli.step.writing")
            _prepare(maps)
            for number, (image, answer) in enumerate(zip(read, answers, strict=True), start=1):
                answer["maps"] = _write_maps(maps, number, image, answer, trained)
    if as_json:
        typer.echo(json.dumps({"run": str(run), "predictions": answers}, ensure_ascii=False))
        return
    for answer in answers:
        said = ", ".join(f"{one['class']} {100 * one['share']:.1f} %" for one in answer["top"])
        typer.echo(say("cli.predict.line", image=answer["image"], said=said))
        if maps is not None:
            typer.echo(say("cli.predict.maps-written", count=len(answer["maps"]), folder=maps))


def _picture(path: Path, run: Run, size: tuple[int, int] | None, channels: int | None) -> NDArray[np.uint8]:
    """A picture as the network takes it; another size or mode is refused unless it may be changed."""
    from convkit.data.fitting import SUFFIXES, Frame, decoded
    from convkit.errors import DataError, FileError, by

    if not path.exists():
        raise FileError("not-found", path=str(path), folder=str(path.parent))
    if path.is_dir():
        raise FileError("is-a-folder", path=str(path))
    if path.suffix.lower() not in SUFFIXES:
        raise FileError("unknown-suffix", path=str(path), suffix=path.suffix or '""', known=" ".join(SUFFIXES))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError("unreadable", path=str(path), reason=error.strerror or str(error)) from error
    opened = run.about.opened
    made = opened["size"]
    frame = Frame(size or ((made[0], made[1]) if made else None), channels or opened["channels"])
    pixels = decoded(content, str(path), frame)
    wanted = run.about.shape
    if pixels.shape != wanted:
        raise DataError(
            "wrong-size",
            path=str(path),
            got=by(pixels.shape),
            wanted=by(wanted),
            size=by(wanted[:2]),
            channels=wanted[2],
        )
    return pixels


def _answer(path: Path, image: NDArray[np.uint8], run: Run, top: int) -> dict[str, Any]:
    import numpy as np

    from convkit.data.pictures import held
    from convkit.nn.runs import judged

    judgement = judged(run.network, run.preprocess, held(image[None], np.zeros(1, np.int64), [str(path)]))
    shares = judgement.shares[0]
    best = np.argsort(-shares, kind="stable")[:top]
    return {
        "image": str(path),
        "class": run.about.classes[int(best[0])],
        "top": [{"class": run.about.classes[int(i)], "share": float(shares[i])} for i in best],
    }


def _prepare(folder: Path) -> None:
    from convkit.errors import FileError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError("unwritable", path=str(folder), reason=error.strerror or str(error)) from error


def _write_maps(folder: Path, number: int, image: NDArray[np.uint8], answer: dict[str, Any], run: Run) -> list[str]:
    """The saliency of the class said, and the feature maps of every convolution, one PNG each."""
    from convkit import data
    from convkit.cli.learning.sheets import enlarged, heat, sheet
    from convkit.cli.raster import coloured
    from convkit.nn.runs.looking import feature_maps, saliency

    label = run.about.classes.index(answer["class"])
    stem = f"{number:03d}-{Path(answer['image']).stem}"
    pictures = {f"{stem}-saliency.png": heat(saliency(run.network, run.preprocess, image, label))}
    for name, maps in feature_maps(run.network, run.preprocess, image).items():
        pictures[f"{stem}-{name}.png"] = coloured(sheet(maps[:MOST_MAPS]), "signed")
    for name, pixels in pictures.items():
        data.write(folder / name, enlarged(pixels))
    return [str(folder / name) for name in pictures]
