"""An export in a few lines: what was compared, where the files are, and how they are used."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from homeroom.report.figures import number_at
from homeroom.settings import Json

if TYPE_CHECKING:  # `status` answers without torch
    from homeroom.stages.export import Exported


def text(exported: "Exported") -> str:
    lines = [f"{exported.source.id} as {exported.format} {exported.type}, {sum(exported.files.values()) / 1e6:,.1f} MB"]
    if exported.proof is None or exported.proven is None:
        lines.append("NOT PROVEN: nobody has compared what it answers elsewhere (--no-proof)")
    else:
        lines += [*_proof(exported.proven), f"written    {exported.proof.id}, homeroom_proof.json"]
    lines.append(f"files      {exported.folder}: {', '.join(exported.files)}")
    return "\n".join([*lines, f"use        {_use(exported)}"])


def _proof(proof: Mapping[str, Any]) -> list[str]:
    count = proof["count"]
    ties = f"{proof['near_ties']} near tie{'' if proof['near_ties'] == 1 else 's'}"
    length = f"{proof['max_tokens']} tokens at most"
    lines = [
        f"proof      {count} prompts: same token ids, same greedy continuation of {length} ({ties})",
        f"token ids  {proof['tokenizer']}",
        f"answers    {proof['model']}; logits differ by at most {proof['logit_difference']:.0e} of their spread",
    ]
    lines += [
        f"near tie   {one['name']}: token {tie['at']['position']} is {tie['at']['here']} here and "
        f"{tie['at']['there']} there, {tie['gap']:.0e} of their spread apart"
        for one in proof["prompts"]
        for tie in one["ties"]
    ]
    if proof["rounded"]:
        lines.append(f"rounding   {proof['as_unrounded']} of {count} continuations are those of the float32 model")
        lines += [
            f"           {one['name']}: from token {at['position']} on ({at['there']} → {at['here']})"
            for one in proof["prompts"]
            if (at := one["unrounded"])
        ]
    if (other := proof["other_cutting"]) is not None:
        lines.append(
            f"cutting    {count - len(other)} of {count} prompts get the same ids by tokenizer.ggml.pre, as llama.cpp "
            f"goes by it{': not ' + ', '.join(other) if other else ''}"
        )
    return lines


def _use(exported: "Exported") -> str:
    if exported.format == "hf":
        return f"AutoModelForCausalLM.from_pretrained({str(exported.folder)!r}), AutoTokenizer likewise (transformers)"
    path = exported.folder / next(name for name in exported.files if name.endswith(".gguf"))
    return f"llama-cli -m {path}{'' if exported.talks else ' -no-cnv -p TEXT'}; llama-server -m {path} (llama.cpp)"


def headline(metrics: Mapping[str, Json]) -> str:
    return (
        f"{metrics.get('source')} as {metrics.get('format')} {metrics.get('type')}: "
        f"{number_at(dict(metrics), 'count') or 0:,.0f} prompts answered the same by transformers"
    )
