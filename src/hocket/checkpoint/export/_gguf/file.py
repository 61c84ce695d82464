"""Writes a planned GGUF file tensor by tensor, and reads one back to compare.

The only file beside its tests that knows the ``gguf`` library.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, LlamaFileType
from gguf.quants import dequantize, quant_shape_to_byte_shape, quantize

from hocket._errors import CheckpointError, ConfigError
from hocket.checkpoint.export._gguf.plan import FilePlan, Piece, Use, Value

_Type = GGMLQuantizationType
_FILE_TYPES = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "bf16": LlamaFileType.MOSTLY_BF16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
}
_OF_DTYPE = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}
# Largest error of a number, as a share of the tensor's largest number.
_ROUNDING = {_Type.F32: 0.0, _Type.F16: 2.0**-11, _Type.BF16: 2.0**-8, _Type.Q8_0: 1 / 127}


def number_type(chosen: str, dtype: torch.dtype) -> str:
    """Return the name of the type of matrices: the chosen one, or the checkpoint's own.

    Raises:
        ConfigError: there is no such type.
    """
    name = _OF_DTYPE.get(dtype, "f32") if chosen == "auto" else chosen
    if name not in _FILE_TYPES:
        raise ConfigError(
            f"--outtype is {chosen!r}, expected auto (the checkpoint's own), "
            f"{', '.join(_FILE_TYPES)}. Choose one of them."
        )
    return name


def write_file(path: Path, plan: FilePlan, *, numbers: str) -> None:
    """Write a file; memory stays at its largest tensor.

    Args:
        path: the file.
        plan: what is in it.
        numbers: type of its matrices, from `number_type`.

    Raises:
        CheckpointError: a number is too large for its type.
    """
    writer = GGUFWriter(path, plan.architecture)
    for key, value in plan.keys.items():
        _add_key(writer, key, value)
    writer.add_file_type(int(_FILE_TYPES[numbers]))
    writer.add_quantization_version(2)
    for piece in plan.pieces:
        kind = _type_of(piece, numbers)
        shape = quant_shape_to_byte_shape(piece.shape, kind) if _in_bytes(kind) else piece.shape
        dtype = _stored_dtype(kind)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        writer.add_tensor_info(piece.name, shape, dtype, size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for piece in plan.pieces:
        writer.write_tensor_data(_stored(piece, _type_of(piece, numbers)))
    writer.close()


def compare_file(path: Path, plan: FilePlan) -> int:
    """Read a file back and compare every tensor with the checkpoint's.

    Returns:
        The number of tensors.

    Raises:
        CheckpointError: it cannot be read, a tensor is missing or too many, or one differs by more
            than its type's rounding.
    """
    try:
        found = {one.name: one for one in GGUFReader(path).tensors}
    except (OSError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Export it again.") from error
    if set(found) != {piece.name for piece in plan.pieces}:
        odd = sorted(set(found) ^ {piece.name for piece in plan.pieces})
        raise CheckpointError(
            f"{path}: {odd[0]} is only in one of file and checkpoint. Export it again."
        )
    for piece in plan.pieces:
        one = found[piece.name]
        got = dequantize(one.data, one.tensor_type).astype(np.float32).reshape(piece.shape)
        want = _numbers(piece)
        largest = float(np.abs(want).max(initial=0.0))
        gap = float(np.abs(got - want).max(initial=0.0))
        if not gap <= _ROUNDING[one.tensor_type] * largest:
            raise CheckpointError(
                f"{path}: {piece.name} differs by {gap:.2e} from the checkpoint's, whose largest "
                f"number is {largest:.2e}. Export it again."
            )
    return len(found)


def _add_key(writer: GGUFWriter, key: str, value: Value) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _type_of(piece: Piece, numbers: str) -> GGMLQuantizationType:
    if piece.use is Use.EXACT or len(piece.shape) == 1:
        return _Type.F32
    if piece.use is Use.HALF:
        return _Type.F16
    kind = GGMLQuantizationType[numbers.upper()]
    if kind is not _Type.Q8_0:
        return kind
    # Rows that are no whole blocks, and kernels, stay one type above.
    blocks = piece.use is Use.MATRIX and piece.shape[-1] % 32 == 0
    return kind if blocks else _Type.F16


def _in_bytes(kind: GGMLQuantizationType) -> bool:
    return kind not in (_Type.F32, _Type.F16)


def _stored_dtype(kind: GGMLQuantizationType) -> np.dtype[np.generic]:
    return np.dtype(
        np.uint8 if _in_bytes(kind) else np.float16 if kind is _Type.F16 else np.float32
    )


def _stored(piece: Piece, kind: GGMLQuantizationType) -> np.ndarray:
    numbers = _numbers(piece)
    if kind is _Type.F16 and np.abs(numbers).max(initial=0.0) > np.finfo(np.float16).max:
        raise CheckpointError(
            f"{piece.name}: {np.abs(numbers).max():.3g} is too large for f16. Choose --outtype "
            "bf16 or f32."
        )
    return np.ascontiguousarray(quantize(numbers, kind))


def _numbers(piece: Piece) -> np.ndarray:
    return piece.read().detach().to(torch.float32).contiguous().numpy()
