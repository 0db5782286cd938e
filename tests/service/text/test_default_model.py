"""The embedded model: small enough, in the layout of Hugging Face, and it has learned English."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
import transformers

from service.text.models import DEFAULT_FOLDER
from tests.service.text.conftest import Loaded

HELDOUT = Path(__file__).with_name("heldout.json")
SENTENCES = [
    "I love programming",
    "He wanted to go home",
    "What is your name?",
    "It was a cold winter morning",
    "She opened the door and walked in",
    "The dog ran across the road",
]


@pytest.fixture(scope="module")
def default() -> Loaded:
    return Loaded("default", DEFAULT_FOLDER)


def test_the_folder_is_what_transformers_expects(default: Loaded) -> None:
    names = {path.name for path in DEFAULT_FOLDER.iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    settings = json.loads((DEFAULT_FOLDER / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert (DEFAULT_FOLDER / "model.safetensors").stat().st_size <= 12_000_000
    assert default.model.context is not None
    assert default.model.context >= 2048
    assert default.model.layout == "packed"
    assert default.model.projects


def test_the_card_names_sources_steps_bits_and_limits() -> None:
    card = (DEFAULT_FOLDER / "README.md").read_text()
    for word in ("licence", "steps", "bits per byte", "Not good for", "sqlite3-doc", "python3.11-doc", "perl-doc"):
        assert word in card


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_ranks_above_most_of_its_shuffles(default: Loaded, sentence: str) -> None:
    (result,) = default.post("/loss", text=sentence, order={"permutations": 119})
    order = result["order"]
    assert order["of"] == min(math.factorial(len(sentence.split())), 120)
    assert (order["rank"] - 1) / (order["of"] - 1) < 0.25


def test_held_out_text_takes_far_fewer_bits_than_by_any_unigram_model(default: Loaded) -> None:
    """Even the frequencies counted on the held-out text itself, the best unigram model that there can be of it."""
    texts: list[str] = [each["text"] for each in json.loads(HELDOUT.read_text())]
    results = [default.post("/loss", text=text, stride=1024)[0] for text in texts]
    size = sum(len(text.encode()) for text in texts)
    bits = -sum(math.fsum(result["log_probs"][1:]) for result in results) / math.log(2) / size
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEFAULT_FOLDER)
    counts = Counter(i for text in texts for i in tokenizer(text, verbose=False)["input_ids"][1:])
    total = sum(counts.values())
    unigram = -sum(count * math.log2(count / total) for count in counts.values()) / size
    assert size > 30_000
    assert bits < 0.8 * unigram
    assert bits < 1.8


def test_its_numbers_are_finite_over_the_whole_context(default: Loaded) -> None:
    ids = torch.arange(2048)[None] % default.model.network.config.vocab_size
    with torch.no_grad():
        assert bool(torch.isfinite(default.model.network(input_ids=ids).logits).all())
