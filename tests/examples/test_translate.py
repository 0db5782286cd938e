"""The study of translation: its text, its word links, its lists, and what its small runs come to."""

import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch

from docs.plots import canvas
from examples import translate
from examples.aligner import align
from examples.catalogues import LICENCES, Pair, distinct, near_duplicates, pairs_of, read, sentences, tidy
from examples.corpus import Batch, Corpus
from examples.encoder_decoder import END, Map
from examples.runner import compute
from examples.study import ROOT, Run


def pair(source: str, target: str = "x", package: str = "a") -> Pair:
    return Pair(source, target, package)


@pytest.fixture(scope="module")
def parts() -> dict[str, list[Pair]]:
    return read()


def test_there_are_twenty_thousand_pairs_and_no_two_sources_have_the_same_letters(
    parts: Mapping[str, Sequence[Pair]],
) -> None:
    keys = [each.key for pairs in parts.values() for each in pairs]
    assert len(keys) == len(set(keys))
    assert len(keys) > 20_000
    assert min(len(parts["held out"]), len(parts["development"])) >= 1000


def test_no_source_is_in_two_parts_whatever_its_order_and_numbers(parts: Mapping[str, Sequence[Pair]]) -> None:
    words = {part: {frozenset(re.findall(r"[^\W\d]+", each.source)) for each in pairs} for part, pairs in parts.items()}
    for one, other in (("held out", "training"), ("held out", "development"), ("development", "training")):
        assert not (words[one] & words[other]) - {frozenset()}


def test_every_package_that_is_read_gives_pairs_and_comes_with_the_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    known = {re.split("[>=<]", requirement)[0].lower() for requirement in extras["examples"]}
    for package in LICENCES:
        assert next(pairs_of(package)).package == package
        assert package.lower() in known


def test_of_sources_with_the_same_letters_the_first_is_kept() -> None:
    assert distinct([pair("save all", "1"), pair("open"), pair("save all .", "2")]) == [
        pair("save all", "1"),
        pair("open"),
    ]


def test_sources_that_differ_in_a_number_or_the_order_of_words_are_in_one_part() -> None:
    assert pair("franc ( 1960 )").part == pair("franc ( 1999 – 2002 )").part == pair("franc").part
    assert pair("norwegian , old").part == pair("old norwegian").part


def test_words_and_punctuation_stand_apart_in_lower_case() -> None:
    assert tidy("L’état d'Ohio, etc.") == "l ' état d ' ohio , etc ."
    assert tidy("_Open Se_lected", "gramps") == "open selected"


@pytest.mark.parametrize("put_in", ["%s", "%(name)s", "%d", "{count}", "${title}", "%1$s", "{}"])
def test_whatever_a_program_puts_in_is_one_mark(put_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.catalogues.messages", lambda package: iter([(f"Add {put_in}", f"Ajouter {put_in}")]))
    assert list(pairs_of("any")) == [pair("add ◇", "ajouter ◇", "any")]


@pytest.mark.parametrize(
    ("text", "translation"),
    [("Wenzhou", "Wenzhou"), ("See http://a.b", "Voir http://a.b"), ("ok", "un " * 26), ("3", "3 .")],
)
def test_copies_addresses_and_sides_without_words_or_far_longer_are_left_out(
    text: str, translation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.catalogues.messages", lambda package: iter([(text, translation)]))
    assert list(pairs_of("any")) == []


def test_a_text_is_cut_into_sentences_where_both_sides_have_as_many() -> None:
    assert sentences("One. Two!", "Un. Deux !") == [("One.", "Un."), ("Two!", "Deux !")]
    assert sentences("One. Two.", "Un et deux.") == [("One. Two.", "Un et deux.")]
    assert sentences("One\n\nTwo. More.", "Un\n\nDeux") == [("One", "Un"), ("Two. More.", "Deux")]


def test_near_duplicates_are_held_out_sources_that_differ_from_a_training_source_in_one_word() -> None:
    held_out = [pair("old east norse"), pair("quite another text"), pair("short one")]
    assert near_duplicates(held_out, [pair("old west norse")]) == 0.5


def test_the_aligner_finds_the_words_of_a_dictionary_though_neighbours_change_places() -> None:
    draw = random.Random(0)
    pairs, wanted = [], []
    for _ in range(400):
        source = draw.sample(range(40), 5)
        order = [1, 0, 2, 4, 3]
        pairs.append((source, [100 + source[place] for place in order]))
        wanted.append(order)
    links = align(pairs)
    right = sum(
        link == place
        for row, places in zip(links, wanted, strict=True)
        for link, place in zip(row, places, strict=True)
    )
    assert right / (5 * 400) > 0.98


def test_the_aligner_leaves_a_word_unlinked_that_stands_in_every_translation() -> None:
    draw = random.Random(0)
    pairs = []
    for _ in range(400):
        source = draw.sample(range(40), 4)
        target = [100 + word for word in source]
        pairs.append((source, [*target[:2], 99, *target[2:]]))
    links = align(pairs)
    assert sum(row == [0, 1, -1, 2, 3] for row in links) / 400 > 0.95


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    case = translate.cases(full=False)[0]
    return translate.corpus_of(case["pairs"], case["words"])


@pytest.mark.parametrize("backwards", [False, True])
def test_a_list_has_its_entries_in_order_or_backwards_and_links_within_them(corpus: Corpus, backwards: bool) -> None:
    for item in corpus.lists("training", 50, entries=(3, 5), backwards=backwards, seed=1):
        entries = [each for each in dict.fromkeys(item.target_entry) if each >= 0]
        assert entries == sorted(entries, reverse=backwards)
        for link, entry in zip(item.links, item.target_entry, strict=True):
            assert link < 0 or item.source_entry[link] == entry
        assert item.source[item.links[-1]] == item.target[-1] == END
        commas = [link for link, token in zip(item.links, item.target, strict=True) if token == corpus.comma]
        assert all(item.source[link] == corpus.comma for link in commas)
        assert (corpus.backwards == item.source[0]) == backwards


def test_what_is_tokenized_reads_as_before(corpus: Corpus) -> None:
    for each in corpus.pairs["training"][:200]:
        assert corpus.text(corpus.ids(each.target)) == each.target


def test_a_seed_has_the_same_batches_whichever_variant_asks(corpus: Corpus) -> None:
    one, other = (next(corpus.batches(8, listed=0.5, seed=3)) for _ in range(2))
    assert torch.equal(one.source, other.source)
    assert torch.equal(one.links, other.links)


def test_the_supervised_loss_is_the_surprisal_of_linked_tokens_for_the_first_head(corpus: Corpus) -> None:
    batch = Batch.of(corpus.lists("training", 4, entries=(2, 3), backwards=True, seed=0))
    n, m = batch.target.shape[1], batch.source.shape[1]
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(4, 2, tokens, 8, generator=generator) for tokens in (n, m))
    scores = (query[:, 0] @ key[:, 0].mT / 8**0.5).masked_fill((batch.source == 0)[:, None], -torch.inf)
    linked = batch.links >= 0
    surprisal = -torch.log_softmax(scores, -1).gather(-1, batch.links.clamp(min=0)[..., None])[..., 0]
    assert torch.allclose(translate.supervised(Map(query, key), batch), surprisal[linked].mean(), atol=1e-5)


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Run]]:
    threads = torch.get_num_threads()
    yield {case["variant"]: compute("translate", case) for case in translate.cases(full=False)}
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_every_variant_learns_more_than_how_frequent_tokens_are(runs: Mapping[str, Run]) -> None:
    for run in runs.values():
        assert run.result["nats"]["texts"] < run.result["unigram nats"] - 0.3


@pytest.mark.slow
@pytest.mark.parametrize("order", translate.ORDERS)
def test_a_head_that_is_taught_finds_the_entries_that_no_head_of_a_plain_model_finds(
    runs: Mapping[str, Run], order: str
) -> None:
    error = {variant: run.result["alignment error"][order] for variant, run in runs.items()}
    assert error["supervised"] < 0.85 * error["plain"]


@pytest.mark.slow
def test_the_attention_losses_fall(runs: Mapping[str, Run]) -> None:
    for variant in ("guided", "supervised"):
        first, last = runs[variant].result["attention loss"]
        assert last < 0.8 * first


@pytest.mark.slow
def test_its_numbers_and_its_picture_tell_all_variants(runs: Mapping[str, Run], tmp_path: Path) -> None:
    found = translate.findings(list(runs.values()))
    assert next(iter(found)).startswith("alignment error")
    assert all(variant in found["chrF"] for variant in runs)
    canvas.set_style()
    canvas.save(translate.figure(list(runs.values())), tmp_path / "translate.svg")
    assert (tmp_path / "translate.svg").stat().st_size < 200_000
