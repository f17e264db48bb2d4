"""The embedded model: all-MiniLM-L6-v2, which turns a text into 384 numbers that lie close where meanings do.

It is BERT as published (Devlin et al. 2018, post-norm, exact GELU) with six layers, then the mean over the tokens,
scaled to length one. The layers are plain numpy. Nothing in here touches the network.
"""

import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from relayline.clients import weights
from relayline.errors import MissingExtra

try:
    import numpy as np
    from numpy.typing import NDArray
    from safetensors.numpy import load as load_tensors
    from threadpoolctl import ThreadpoolController  # pyright: ignore[reportMissingTypeStubs]
    from tokenizers import Tokenizer
except ImportError as missing:
    raise MissingExtra(weights.MISSING_EXTRA) from missing

Array: TypeAlias = NDArray[np.float32]
Tensors: TypeAlias = Mapping[str, NDArray[Any]]

_LAYERS: Final = 6
_HEADS: Final = 12
_WIDTH: Final = 384
_MAX_TOKENS: Final = 256
# 256 tokens of any prose are well within this; it bounds the cost of a text that is megabytes long.
_MAX_CHARACTERS: Final = 8192
_REMEMBERED: Final = 1024
_NORM_EPSILON: Final = np.float32(1e-12)

_loaded: "dict[Path, Encoder]" = {}
_loading = threading.Lock()
_computing = threading.Lock()


class Encoder:
    """Texts in, vectors of length one out; their dot product says how alike the texts are, from about 0 to 1.

    Safe to call from any thread: one computes at a time, on one core. A text takes some 5 to 70 ms (asyncio code wants
    `asyncio.to_thread`); the last 1024 texts are remembered, so asking again for the same ones costs nothing.
    """

    def __init__(self, tensors: Tensors, tokenizer: Tokenizer) -> None:
        """``tensors``: by BERT's own names, as `weights.quantise` writes them."""
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_MAX_TOKENS)  # pyright: ignore[reportUnknownMemberType]
        self._words = tensors["embeddings.word_embeddings.weight"]
        self._word_scales = tensors["embeddings.word_embeddings.weight.scale"]
        # We only ever have one segment, so its embedding is part of the position's.
        positions = _matrix(tensors, "embeddings.position_embeddings.weight")[:_MAX_TOKENS]
        self._positions: Array = positions + _matrix(tensors, "embeddings.token_type_embeddings.weight")[0]
        self._norm = _Norm(tensors, "embeddings.LayerNorm")
        self._layers = [_Layer(tensors, f"encoder.layer.{index}") for index in range(_LAYERS)]
        self._threads = ThreadpoolController()
        self._vector = lru_cache(_REMEMBERED)(self._compute)

    @classmethod
    def load(cls, folder: Path | None = None) -> "Encoder":
        """The model of that folder (default: the user's cache), loaded once per process.

        Raises:
            weights.MissingModel: it was not fetched yet, or its files are damaged; the message has the line to type.
        """
        place = (folder or weights.model_folder()).resolve()
        with _loading:
            if place not in _loaded:
                weights.require(place)
                tensors = load_tensors((place / "model.safetensors").read_bytes())
                _loaded[place] = cls(tensors, Tokenizer.from_file(str(place / "tokenizer.json")))
            return _loaded[place]

    def encode(self, texts: Sequence[str]) -> Array:
        """One row of 384 numbers per text, in their order; the first 256 tokens of a text count.

        A text has the same vector, bit for bit, whatever stands beside it in the call.
        """
        rows = [self._vector(text[:_MAX_CHARACTERS]) for text in texts]
        return np.array(rows, np.float32).reshape(len(rows), _WIDTH)

    def _compute(self, text: str) -> Array:
        # A lone surrogate has no UTF-8, which the tokenizer wants; the tokenizer itself drops control characters.
        words = text.encode("utf-8", "replace").decode("utf-8")
        # A second thread makes a short text slower, and any text several times slower on a busy machine. The limit
        # is one of the whole process's BLAS: it is held only while we compute, and restored.
        # After the lock: two that overlap would restore each other's limit.
        with _computing, self._threads.limit(limits=1, user_api="blas"):  # pyright: ignore[reportUnknownMemberType]
            state = self._norm(self._embed(self._tokenizer.encode(words).ids))
            for layer in self._layers:
                state = layer(state)
            mean = state.mean(axis=0)
            return mean / np.linalg.norm(mean)

    def _embed(self, ids: Sequence[int]) -> Array:
        # The word table is half of the model and a text needs a few rows of it: it stays as small as it came.
        return _full(self._words[ids], self._word_scales[ids]) + self._positions[: len(ids)]


class _Layer:
    """Attention, then the feed-forward network, each added to what it read and normalised."""

    def __init__(self, tensors: Tensors, name: str) -> None:
        attention = f"{name}.attention"
        self.read = _Linear(tensors, *(f"{attention}.self.{part}" for part in ("query", "key", "value")))
        self.merge = _Linear(tensors, f"{attention}.output.dense")
        self.merge_norm = _Norm(tensors, f"{attention}.output.LayerNorm")
        self.widen = _Linear(tensors, f"{name}.intermediate.dense")
        self.narrow = _Linear(tensors, f"{name}.output.dense")
        self.narrow_norm = _Norm(tensors, f"{name}.output.LayerNorm")

    def __call__(self, state: Array) -> Array:
        state = self.merge_norm(state + self.merge(self._attend(state)))
        return self.narrow_norm(state + self.narrow(gelu(self.widen(state))))

    def _attend(self, state: Array) -> Array:
        tokens = len(state)
        # (tokens, 3 * width) -> three of (heads, tokens, width / heads)
        query, key, value = self.read(state).reshape(tokens, 3, _HEADS, -1).transpose(1, 2, 0, 3)
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(np.float32(_WIDTH // _HEADS))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return (scores @ value).transpose(1, 0, 2).reshape(tokens, _WIDTH)


class _Linear:
    """``x @ weight + bias``; several of the same input are one."""

    def __init__(self, tensors: Tensors, *names: str) -> None:
        self.weight = np.concatenate([_matrix(tensors, f"{name}.weight") for name in names]).T
        self.bias = np.concatenate([tensors[f"{name}.bias"] for name in names]).astype(np.float32)

    def __call__(self, state: Array) -> Array:
        return state @ self.weight + self.bias


class _Norm:
    """Layer normalisation: every token to mean zero and variance one, then scaled and shifted."""

    def __init__(self, tensors: Tensors, name: str) -> None:
        self.weight = tensors[f"{name}.weight"].astype(np.float32)
        self.bias = tensors[f"{name}.bias"].astype(np.float32)

    def __call__(self, state: Array) -> Array:
        centred = state - state.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        return centred / np.sqrt(variance + _NORM_EPSILON) * self.weight + self.bias


def _matrix(tensors: Tensors, name: str) -> Array:
    return _full(tensors[name], tensors[f"{name}.scale"])


def _full(matrix: NDArray[Any], scales: NDArray[Any]) -> Array:
    """A quantised matrix as float32; ``scales`` has for each row one factor per group of neighbours."""
    grouped = matrix.astype(np.float32).reshape(*scales.shape, -1)
    grouped *= scales[..., None]
    return grouped.reshape(matrix.shape)


def gelu(x: Array) -> Array:
    """``x * (1 + erf(x / sqrt 2)) / 2``, exact to 1e-6 (numpy has no erf)."""
    # Abramowitz and Stegun 7.1.26 for erf(|z|): off by 1.5e-7 at most.
    z = np.abs(x) * np.float32(0.7071067811865476)
    t = 1 / (1 + np.float32(0.3275911) * z)
    tail = np.full_like(t, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail *= t
        tail += np.float32(coefficient)
    tail *= t
    tail *= np.exp(-z * z)
    # 1 + erf(z) is 2 - tail right of zero and tail left of it.
    return np.float32(0.5) * x * np.where(x < 0, tail, 2 - tail)
