"""Makes the service's embedded text model: text, vocabulary, training, evaluation, export."""

import argparse
import sys
from pathlib import Path

from default_model.corpus import CorpusError, prepare
from default_model.vocabulary import VOCABULARY_SIZE, train_vocabulary

_DESCRIPTION = """\
Makes the service's embedded text model from text in Debian packages.

Run the stages in order; each reads what the one before left in the work folder:
  data        downloads packages, extracts and cleans their prose, holds 2 % of the documents out
  tokenizer   learns a byte-level BPE vocabulary
  train       trains a small Llama; run it again after an interruption and it goes on from its last checkpoint
  evaluate    held-out bits per byte against a unigram model, ranks of sentences among their word orders
  sample      writes some of the held-out documents, of sources in the public domain, for the tests
  export      writes a Hugging Face folder with a model card
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=Path, default=Path("build/default_model"), help="work folder (default: %(default)s)"
    )
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    stages.add_parser("data", help="fetch and clean the text; needs apt-get and dpkg-deb")
    tokenizer = stages.add_parser("tokenizer", help="learn the vocabulary")
    tokenizer.add_argument("--size", type=int, default=VOCABULARY_SIZE, help="tokens (default: %(default)s)")
    train = stages.add_parser(
        "train",
        help="train or go on training",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="The learning rate falls to nearly 0 where the budget ends. Running time is processor time, "
        "so a paused or preempted run loses nothing; restart with a smaller budget to finish sooner.",
    )
    train.add_argument("--minutes", type=float, help="budget of running time, all runs together")
    train.add_argument("--tokens", type=int, help="budget of tokens, all runs together; the first budget to end counts")
    train.add_argument("--hidden", type=int, default=192, help="width, a multiple of 64")
    train.add_argument("--layers", type=int, default=6, help="depth")
    train.add_argument("--rate", type=float, default=3e-3, help="highest learning rate")
    train.add_argument("--threads", type=int, default=1, help="processor threads")
    train.add_argument("--checkpoint-seconds", type=float, default=180.0, help="time between checkpoints")
    train.add_argument("--no-compile", action="store_true", help="spare the C++ compiler; about half the speed")
    evaluate = stages.add_parser("evaluate", help="measure the last checkpoint; writes evaluation.json")
    evaluate.add_argument("--threads", type=int, default=1, help="processor threads (default: %(default)s)")
    sample = stages.add_parser("sample", help="write held-out documents for the tests")
    sample.add_argument("file", type=Path, help="where to, for example tests/service/text/heldout.json")
    export = stages.add_parser("export", help="write the Hugging Face folder")
    export.add_argument("folder", type=Path, help="where to, for example service/models/default")
    return parser


def main() -> None:
    """Runs one stage; a foreseeable failure is one line on stderr and exit status 1."""
    options = _parser().parse_args()
    try:
        _run(options)
    except (CorpusError, OSError) as error:
        sys.exit(f"train_default_model: {error}")
    except KeyboardInterrupt:
        sys.exit("train_default_model: interrupted; run the stage again to go on")


def _run(options: argparse.Namespace) -> None:
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    if options.stage == "data":
        prepare(work)
    elif options.stage == "tokenizer":
        train_vocabulary(work, options.size)
    elif options.stage == "train":
        _train(work, options)
    elif options.stage == "evaluate":
        _evaluate(work, options.threads)
    elif options.stage == "sample":
        from default_model.evaluation import sample

        sample(work, options.file)
    else:
        from default_model.export import export

        export(work, options.folder)


def _evaluate(work: Path, threads: int) -> None:
    from default_model.evaluation import evaluate
    from rich import print as show

    result = evaluate(work, threads)
    show(f"{result['bits_per_byte']:.3f} bits per byte held out, unigram {result['unigram_bits_per_byte']:.3f}")
    for order in result["orders"]:
        show(f"rank {order['rank']:>3} of {order['orders']:>3}  {order['sentence']}  (best: {order['best_order']})")


def _train(work: Path, options: argparse.Namespace) -> None:
    from default_model.training import Plan, train

    if options.minutes is None and options.tokens is None:
        raise CorpusError("name a budget: --minutes, --tokens or both")
    if options.hidden % 64 or options.hidden < 64:
        raise CorpusError(f"--hidden {options.hidden} is not a multiple of 64")
    train(
        work,
        Plan(
            minutes=options.minutes,
            tokens=options.tokens,
            hidden=options.hidden,
            layers=options.layers,
            rate=options.rate,
            threads=options.threads,
            checkpoint_seconds=options.checkpoint_seconds,
            compile=not options.no_compile,
        ),
    )


if __name__ == "__main__":
    main()
