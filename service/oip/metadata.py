"""What GET /v2 and GET /v2/models/{model} tell."""

from service.oip.answer import LOSS_OUTPUTS, STATISTICS, VERSION
from service.oip.request import INPUTS
from service.oip.schemas import ModelMetadata, TensorMetadata

EXTENSIONS = ("binary_tensor_data", "parameters")

_SHAPES = {
    "MASK": ("BOOL", 4),
    "KEY_LENGTHS": ("INT64", 1),
    "QUERY_LENGTHS": ("INT64", 1),
    "TARGET": ("INT64", 3),
    "LSE": ("FP32", 3),
    "ENTROPY": ("FP32", 3),
    "RECEIVED": ("FP32", 3),
    "MAX": ("FP32", 3),
    "TOP_INDEX": ("INT64", 4),
    "LOSS": ("FP32", 1),
}
"""Datatype and dimensions of what is not FP32 in four dimensions [batch, heads, n or m, …]."""

_OUTPUTS = {
    "attention": (*STATISTICS,),
    "loss": (*LOSS_OUTPUTS, *STATISTICS),
}


def _told(name: str) -> TensorMetadata:
    datatype, dims = _SHAPES.get(name, ("FP32", 4))
    return TensorMetadata(name=name, datatype=datatype, shape=[-1] * dims)


METADATA = {
    model: ModelMetadata(
        name=model,
        versions=[VERSION],
        platform="attnloss",
        inputs=[_told(name) for name in INPUTS[model]],
        outputs=[_told(name) for name in _OUTPUTS[model]],
    )
    for model in INPUTS
}
"""Of each model. Inputs also come as FP64, FP16, BF16 and integers, and without their leading dimensions; of the model
loss there are LOSS_<label> and PER_QUERY_<label> for each loss of a request besides."""
