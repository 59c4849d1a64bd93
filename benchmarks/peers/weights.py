# SPDX-License-Identifier: Apache-2.0
"""Safetensors files in numpy: an 8-byte length, a JSON header of that length, tensors' bytes."""
import json
from pathlib import Path

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "U64": "<u8", "U8": "u1"}


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All tensors by name, and the metadata."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        values = np.frombuffer(content[begin:end], DTYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"]).copy()
    return tensors, metadata


def of_network(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The tensors of one network of a model file, named as its modules are."""
    return {
        name[len(prefix) :]: values for name, values in tensors.items() if name.startswith(prefix)
    }
