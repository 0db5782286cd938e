"""What `benchmarks/http.py` compares against: attention as a competent person writes it in plain FastAPI."""

import math

import torch
from fastapi import FastAPI
from pydantic import BaseModel

torch.set_num_threads(2)
app = FastAPI()

Rank3 = list[list[list[float]]]
Rank4 = list[Rank3]


class Request(BaseModel):
    """One attention problem as nested lists."""

    query: Rank4
    key: Rank4
    value: Rank4


class Answer(BaseModel):
    """The same three arrays that the service is asked for."""

    output: Rank4
    weights: Rank4
    entropy: Rank3


@app.post("/attention", response_model=Answer)
def attention(request: Request) -> dict[str, object]:
    query, key, value = (torch.tensor(rows) for rows in (request.query, request.key, request.value))
    weights = torch.softmax(query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1]), dim=-1)
    entropy = torch.special.entr(weights).sum(dim=-1)
    return {"output": (weights @ value).tolist(), "weights": weights.tolist(), "entropy": entropy.tolist()}
