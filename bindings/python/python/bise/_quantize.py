"""Quantizing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from . import _bise
from ._model import Path, adapters_of, tell


def quantize(
    source: Path,
    output: Path,
    type: str | None = None,
    *,
    size: str | int | None = None,
    bpw: float | None = None,
    imatrix: Path | None = None,
    lora: Path | tuple[Path, float] | Sequence[Path | tuple[Path, float]] | None = None,
    pure: bool = False,
    tensor_types: Mapping[str, str] | None = None,
    output_type: str | None = None,
    embedding_type: str | None = None,
    sliding_window: int | str | None = None,
    allow_requantize: bool = False,
    probe: bool = True,
    threads: int | None = None,
) -> dict[str, Any]:
    """Makes a quantized GGUF file, the bytes that ``bise quantize`` writes.

    The file appears only when it is complete. Stopped by Ctrl-C or killed, the same call goes on
    from there.

    Args:
        source: A directory of safetensors, a GGUF file, or the name of a model that is on disk.
        output: The file.
        type: A type such as ``"Q8_0"`` or a recipe such as ``"Q4_K_M"``; this, `size` or `bpw`.
        size: The best file of at most so many bytes, or ``"4.0G"``, ``"4GiB"``.
        bpw: The best file of at most so many bits for each weight.
        imatrix: An importance matrix.
        lora: Adapters that are merged: a path, ``(path, scale)``, or a list of such.
        pure: Gives all matrices the type itself.
        tensor_types: The type of matrices whose names a regular expression is found in.
        output_type: The type of the output matrix.
        embedding_type: The type of the embedding.
        sliding_window: Keys that a token sees, or ``"off"``; as the source says when None.
        allow_requantize: Quantizes weights that are quantized already.
        probe: Records what the model says to some prompts, for ``bise verify``.
        threads: All cores when None.

    Returns:
        What ``bise quantize --json`` prints: ``file``, ``bytes``, ``bits_per_weight``, ``notes``,
        and ``tensors`` with the error of each.

    Raises:
        QuantizeError: When the source cannot be read or the output not be written.
        RequestError: When an option is not what is expected.
        KeyboardInterrupt: At Ctrl-C.
    """
    options = {
        "type": type,
        "size": size,
        "bpw": bpw,
        "imatrix": imatrix,
        "output-type": output_type,
        "embedding-type": embedding_type,
        "sliding-window": sliding_window,
        "threads": threads,
    }
    flags = {"pure": pure, "allow-requantize": allow_requantize, "no-probe": not probe}
    words = ["--json"]
    words += [f"--{name}={value}" for name, value in options.items() if value is not None]
    words += [f"--{name}" for name, given in flags.items() if given]
    words += [f"--tensor-type={pattern}={kind}" for pattern, kind in (tensor_types or {}).items()]
    words += [f"--lora={adapter}" for adapter in adapters_of(lora)]
    words += ["--", os.fspath(source), os.fspath(output)]
    report, notes = _bise.quantize(words)
    tell(notes)
    done: dict[str, Any] = json.loads(report)
    return done
