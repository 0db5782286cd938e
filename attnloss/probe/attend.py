"""The attention function that transformers calls."""

from typing import Any

import torch
from torch import Tensor, nn

from attnloss.probe.errors import ProbeError
from attnloss.probe.inputs import Call, Inputs, plain_inputs, unpacked_inputs
from attnloss.probe.masks import Description, description
from attnloss.probe.measure import Measured, attended, check_causal, measure, native_output
from attnloss.probe.sequences import Sequences
from attnloss.probe.state import PROBES, Turn

Output = tuple[Tensor, None]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **kwargs: Any,
) -> Output:
    """Attend as transformers' sdpa does, and leave a record with the probe that asked for this layer.

    Takes query [B, H, n, d], key and value [B, Hkv, m, ·], and gives the output [B, n, H, dv] in their dtype.
    Raises ProbeError for what cannot be told: attention sinks, or a mask of other hands among sequences.
    """
    if s_aux is not None:
        raise ProbeError("attention sinks as in gpt-oss are not supported")
    call = Call(module, query, key, value, attention_mask, dropout, scaling, is_causal, position_bias, softcap, kwargs)
    probe = PROBES.get(module)
    turn = Turn() if probe is None else probe.turn(module)
    described = description(attention_mask)
    sequences = None if described is None else described.sequences
    if turn.sequences is not sequences and not turn.again:
        raise ProbeError(
            "a layer got another mask than the one that was made for the sequences under way; "
            "a backward through checkpointed layers belongs inside of the probe"
        )
    if not turn.chosen and softcap is None and sequences is None:
        return _sdpa(call)
    with torch.autocast(query.device.type, enabled=False):
        inputs = _inputs(call, turn, described, sequences)
        measured = None
        if turn.chosen and probe is not None:
            measured = measure(probe.plan, inputs, with_output=dropout == 0)
            if not turn.again:
                _check(call, turn, described, measured)
                probe.keep(turn, measured)
        output = None if measured is None else measured.output
        if output is None:
            output = _computed(call, inputs, sequences)
    if output is None:
        return _sdpa(call) if sequences is None else (_each(call, inputs, sequences), None)
    output = output.to(query.dtype)
    if sequences is None:
        return output.transpose(1, 2).contiguous(), None
    assert inputs.lengths is not None
    return sequences.pack(output, inputs.lengths[0]), None


def _inputs(call: Call, turn: Turn, described: Description | None, sequences: Sequences | None) -> Inputs:
    if sequences is not None and described is not None:
        return unpacked_inputs(call, described, sequences, sequences.sites[call.module])
    n = call.query.shape[2]
    if turn.site == "cross":
        rows = None if turn.queries is None or turn.queries.shape[1] < n else turn.queries[:, -n:].bool()
    else:
        rows = None if described is None else described.valid_rows(n)
    return plain_inputs(call, None if rows is None or bool(rows.all()) else rows)


def _computed(call: Call, inputs: Inputs, sequences: Sequences | None) -> Tensor | None:
    """Compute the output by this library where transformers' sdpa cannot, or the kernel spares it the padding."""
    if call.softcap is not None:
        if call.dropout > 0:
            raise ProbeError("dropout of capped scores is not supported; set attention_dropout to 0")
        return attended(inputs, "auto")
    return None if sequences is None or call.dropout > 0 else native_output(inputs)


def _sdpa(call: Call) -> Output:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    output: Output = sdpa_attention_forward(
        call.module,
        call.query,
        call.key,
        call.value,
        call.mask,
        dropout=call.dropout,
        scaling=call.scaling,
        is_causal=call.is_causal,
        position_bias=call.position_bias,
        **call.rest,
    )
    return output


def _each(call: Call, inputs: Inputs, sequences: Sequences) -> Tensor:
    """Attend text by text, none of them padded."""
    assert inputs.lengths is not None
    longest = inputs.query.shape[2]
    outputs = []
    for entry, (n, m) in enumerate(zip(*inputs.lengths, strict=True)):
        one = slice(entry, entry + 1)
        part = Call(
            module=call.module,
            query=inputs.query[one, :, :n],
            key=inputs.key[one, :, :m],
            value=inputs.value[one, :, :m],
            mask=None if inputs.mask is None else inputs.mask[..., :n, :m],
            dropout=call.dropout,
            scaling=call.scaling,
            is_causal=inputs.causal,
            position_bias=None if call.position_bias is None else call.position_bias[..., :n, :m],
            softcap=None,
        )
        padding = (0, 0, 0, longest - n)
        outputs.append(nn.functional.pad(_sdpa(part)[0].transpose(1, 2), padding))
    return sequences.pack(torch.cat(outputs), inputs.lengths[0])


def _check(call: Call, turn: Turn, described: Description | None, measured: Measured) -> None:
    if turn.first and turn.site == "decoder" and (call.causal or (described is not None and described.causal)):
        check_causal(measured.inputs)
