"""What asks for a model's tokenizer alone: answered where texts are read, before any device."""

from typing import Any

from service.errors import Invalid
from service.job import Job
from service.openai.prompts import unpacked
from service.text.encoding import check_text
from service.text.models import TextModel

_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


def tokenizer_answer(job: Job, model: TextModel) -> dict[str, Any]:
    """The answer of a job that a tokenizer answers. Raises Invalid."""
    return _ANSWERS[job.options["endpoint"]](job, model)


def check_ids(ids: list[int], model: TextModel, path: str) -> None:
    """Raise Invalid for an id beyond the vocabulary."""
    if max(ids, default=0) >= model.vocabulary:
        k = next(k for k, token in enumerate(ids) if token >= model.vocabulary)
        raise Invalid.field(
            f"{path}[{k}]", f"expected 0…{model.vocabulary - 1}, the ids of {model.name}, came {ids[k]}"
        )


def _tokenize(job: Job, model: TextModel) -> dict[str, Any]:
    (text,) = job.options["text"]
    check_text(text, "prompt")
    tokens = model.tokenizer(text, add_special_tokens=job.options["add_special_tokens"], verbose=False)["input_ids"]
    return {"tokens": tokens, "count": len(tokens), "max_model_len": model.context}


def _detokenize(job: Job, model: TextModel) -> dict[str, Any]:
    (ids,) = unpacked(job.arrays)
    check_ids(ids, model, "tokens")
    return {"prompt": model.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)}


def _info(job: Job, model: TextModel) -> dict[str, Any]:
    tokenizer = model.tokenizer
    roles = {role: getattr(tokenizer, role) for role in _ROLES}
    template = tokenizer.chat_template
    return {
        "model": model.name,
        "tokenizer_class": type(tokenizer).__name__,
        **{role: None if token is None else str(token) for role, token in roles.items()},
        "vocab_size": len(tokenizer),
        "max_model_len": model.context,
        "chat_template": template if isinstance(template, str) else None,
    }


_ANSWERS = {"tokenize": _tokenize, "detokenize": _detokenize, "tokenizer_info": _info}

ENDPOINTS = frozenset(_ANSWERS)
"""Those that are answered here."""
