"""Requests and answers that the document of the API shows, by path."""

from typing import Any

_SCORED = {"model": "default", "prompt": "I love", "max_tokens": 0, "echo": True, "logprobs": 1}
_SCORED_ANSWER = {
    "id": "cmpl-9f0c5b1e2d4a48d70000000000000005",
    "object": "text_completion",
    "created": 1767225600,
    "model": "default",
    "choices": [
        {
            "index": 0,
            "text": "I love",
            "logprobs": {
                "tokens": ["<|text|>", "I", " love"],
                "token_logprobs": [None, -5.34937, -7.5173092],
                "top_logprobs": [
                    None,
                    {"The": -3.524483, "I": -5.34937},
                    {"nt": -2.4411285, " love": -7.5173092},
                ],
                "text_offset": [0, 0, 1],
            },
            "finish_reason": "length",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3},
}
_TEXT, _IDS = "I love programming", [41, 1883, 4718]

EXAMPLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "/v1/completions": ({"score": _SCORED}, {"score": _SCORED_ANSWER}),
    "/tokenize": (
        {"text": {"prompt": _TEXT, "add_special_tokens": False}},
        {"text": {"tokens": _IDS, "count": len(_IDS), "max_model_len": 2048}},
    ),
    "/detokenize": ({"ids": {"tokens": _IDS}}, {"ids": {"prompt": _TEXT}}),
}
"""What is sent, and what is answered."""
