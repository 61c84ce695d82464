"""What the usual GPUs hold and do, from their makers' data sheets."""

from __future__ import annotations

from dataclasses import dataclass

from hocket._errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Attributes:
        name: its name on the command line.
        gib: memory that torch can see, in GiB; a little less than the number in the name.
        bfloat16_tflops: dense matrix products with sums in float32, 10^12 operations a second.
        float32_tflops: the same in float32 without TF32, which torch leaves off.
        link_gb_s: 10^9 bytes a second that it sends to others of its machine, one way.
    """

    name: str
    gib: float
    bfloat16_tflops: float = 0.0
    float32_tflops: float = 0.0
    link_gb_s: float = 32.0

    @property
    def usable(self) -> float:
        """Bytes that a run may plan with.

        The CUDA context and the libraries' workspaces take about 0.75 GiB; torch's allocator loses
        about 5 % to gaps (PyTorch documentation, "CUDA memory management").
        """
        return (self.gib - 0.75) * 0.95 * 2**30


_LISTED = (
    Gpu("b200", 178.0, 2250, 75, 900),
    Gpu("h200", 139.7, 989, 67, 450),
    Gpu("h100", 79.1, 989, 67, 450),
    Gpu("h100-pcie", 79.1, 756, 51, 64),
    Gpu("a100-80", 79.1, 312, 19.5, 300),
    Gpu("a100-40", 39.4, 312, 19.5, 300),
    Gpu("l40s", 44.4, 362, 91.6),
    Gpu("a6000", 47.4, 155, 38.7),
    Gpu("l4", 22.0, 121, 30.3),
    Gpu("rtx4090", 23.5, 165, 82.6),
    Gpu("rtx3090", 23.6, 71, 35.6),
    Gpu("v100-32", 31.7, 125, 15.7, 150),
)
GPUS = {gpu.name: gpu for gpu in _LISTED}


def gpu_named(name: str) -> Gpu:
    """Return a GPU by its name.

    Raises:
        UnknownNameError: it is not in the list.
    """
    if name not in GPUS:
        raise UnknownNameError("GPU", name, GPUS)
    return GPUS[name]
