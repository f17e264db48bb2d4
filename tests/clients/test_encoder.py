"""The embedded model, the real one, against vectors that torch and transformers computed from the same weights."""

import json
import math
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from relayline.clients.encoder import Encoder, gelu
from relayline.clients.weights import MissingModel

REFERENCE: dict[str, Any] = json.loads((Path(__file__).parent / "reference_vectors.json").read_text("utf-8"))
TEXTS: list[str] = REFERENCE["texts"]


def test_vectors_are_those_of_torch(encoder: Encoder) -> None:
    """Our layers, of the weights as we keep them, agree with torch to 1e-5: in numbers and in every cosine."""
    vectors = encoder.encode(TEXTS)
    assert abs(vectors[:, :16] - REFERENCE["dequantised"]["first_16"]).max() < 1e-5
    assert abs(vectors @ vectors.T - REFERENCE["dequantised"]["cosines"]).max() < 1e-5


def test_quantising_moves_no_cosine_by_more_than_a_hundredth(encoder: Encoder) -> None:
    """How alike two texts are is within 0.01 of what the float32 weights say."""
    vectors = encoder.encode(TEXTS)
    assert abs(vectors @ vectors.T - REFERENCE["float32"]["cosines"]).max() < 0.01
    assert abs(vectors[:, :16] - REFERENCE["float32"]["first_16"]).max() < 0.01


def test_what_is_meant_alike_lies_close(encoder: Encoder) -> None:
    """Of several agents, the one that a message is about is the closest, without a word in common."""
    message, refunds, parcels, weather = encoder.encode(
        ["I want my money back", "Handles refunds", "Tracks parcels", "Knows the weather forecast"]
    )
    assert message @ refunds > max(message @ parcels, message @ weather)


def test_gelu_is_exact_to_a_millionth() -> None:
    """GELU agrees with the error function of the C library to 1e-6, far out as well as around zero."""
    numbers = np.concatenate([np.linspace(-12, 12, 20_001), np.geomspace(1e-8, 1e3, 500)]).astype(np.float32)
    exact = [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in numbers.tolist()]
    assert (abs(gelu(numbers) - exact) <= 1e-6 * np.maximum(1, abs(numbers))).all()


def test_a_vector_does_not_depend_on_its_neighbours(model_folder: Path, encoder: Encoder) -> None:
    """A text has the same vector bit for bit, alone or among others, remembered or computed anew."""
    together = encoder.encode([*TEXTS, *reversed(TEXTS)])
    encoder._vector.cache_clear()
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert (together == np.concatenate([alone, alone[::-1]])).all()


def test_vectors_have_length_one_and_no_text_is_an_empty_table(encoder: Encoder) -> None:
    """Every row has length one; no texts are no rows of the same width."""
    assert abs(np.linalg.norm(encoder.encode(TEXTS), axis=1) - 1).max() < 1e-6
    assert encoder.encode([]).shape == (0, 384)
    assert encoder.encode([]).dtype == encoder.encode(["hi"]).dtype == np.float32


@pytest.mark.parametrize(
    "text", ["", " ", "\0", "\x1b[31m\x07\u200b\ufeff", "\ud800 lone \udfff", "\U0010ffff", "[SEP][MASK]"]
)
def test_odd_texts_do_no_harm(encoder: Encoder, text: str) -> None:
    """Nothing at all, control characters, half characters and the tokenizer's own marks have a vector like any text."""
    (vector,) = encoder.encode([text])
    assert np.isfinite(vector).all()
    assert abs(np.linalg.norm(vector) - 1) < 1e-6


@pytest.mark.parametrize("unit", ["Where is my order? ", "x", "\u4e2d", "\u0301", "\ud83d", " "])
def test_a_text_of_megabytes_costs_what_a_page_does(encoder: Encoder, unit: str) -> None:
    """However long a text is, the tokenizer sees its first 8192 characters and the layers 256 tokens."""
    (page,) = encoder.encode([(unit * 8192)[:8192]])
    before = encoder._vector.cache_info().misses
    (megabytes,) = encoder.encode([unit * 4_000_000])
    assert encoder._vector.cache_info().misses == before  # the same text by then, and so remembered
    assert (page == megabytes).all()


def test_threads_may_share_an_encoder(encoder: Encoder) -> None:
    """Calls from many threads at once give the vectors that one gives."""
    expected = encoder.encode(TEXTS)
    encoder._vector.cache_clear()
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(encoder.encode(TEXTS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all((result == expected).all() for result in results)


def test_other_users_of_numpy_keep_their_threads(encoder: Encoder) -> None:
    """The limit to one thread is gone after a call, however many were at it at once."""
    before = [each["num_threads"] for each in ThreadpoolController().info()]
    encoder._vector.cache_clear()
    threads = [threading.Thread(target=encoder.encode, args=(TEXTS[n : n + 3],)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each["num_threads"] for each in ThreadpoolController().info()] == before


def test_the_model_is_loaded_once_per_process(model_folder: Path) -> None:
    """Everybody who loads the same folder gets the same encoder, from any thread."""
    found: list[Encoder] = []
    threads = [threading.Thread(target=lambda: found.append(Encoder.load(model_folder))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def test_a_missing_model_is_said_with_the_line_to_type(tmp_path: Path) -> None:
    """Loading from a folder without the model says what to type."""
    with pytest.raises(MissingModel, match="relayline model fetch"):
        Encoder.load(tmp_path)


def test_a_damaged_model_is_not_loaded(tmp_path: Path, model_folder: Path) -> None:
    """A model with a changed byte is refused instead of giving wrong answers."""
    for path in model_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.seek(10_000_000)
        file.write(b"damage")
    with pytest.raises(MissingModel, match="damaged"):
        Encoder.load(tmp_path)


def test_a_missing_package_names_the_extra() -> None:
    """Without one of its packages, the module says which extra to install."""
    program = "import sys; sys.modules['tokenizers'] = None; import relayline.clients.encoder"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert re.search(r"MissingExtra: .*pip install 'relayline\[embedded\]'", ran.stderr)


def test_the_network_is_never_asked(model_folder: Path) -> None:
    """Loading and encoding open no socket; a package of the tokenizer's that would is not even imported."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "def watch(event, _):\n"
        "    assert not event.startswith(('socket.', 'subprocess.')), event\n"
        "sys.addaudithook(watch)\n"
        "from relayline.clients.encoder import Encoder\n"
        "assert Encoder.load(Path(sys.argv[1])).encode(['hi']).shape == (1, 384)\n"
        "assert 'huggingface_hub' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(model_folder)], check=True)
