"""Make a Gemma and a Gemma 2 of a few thousand random weights, convert them with the real builder, and write down what
they say.

    python tiny_gemma.py FOLDER

FOLDER/KIND/onnx gets a converted model, FOLDER/KIND/expected.json the ids of a prompt by its own chat template and the
ids that the original model says greedily after it. All in one process: importing PyTorch takes the most time here.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

WORDS = "The iron gate opens at dawn."


def make(kind: str, folder: Path) -> None:
    import torch
    import transformers

    from tests.backends import toy

    toy.CONTROL[:] = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=toy.byte_fallback(),
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        pad_token="<pad>",
    )
    template = Path(__file__).parent.parent / "prompt" / "gemma2.jinja"
    tokenizer.chat_template = template.read_text(encoding="utf-8")
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 2048,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    if kind == "gemma2":
        config = transformers.Gemma2Config(**shape, sliding_window=512, query_pre_attn_scalar=32)
        model = transformers.Gemma2ForCausalLM(config)
    else:
        model = transformers.GemmaForCausalLM(transformers.GemmaConfig(**shape))
    original = folder / "original"
    model.eval().save_pretrained(original)
    tokenizer.save_pretrained(original)
    messages = [{"role": "user", "content": WORDS}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    with torch.no_grad():
        said = model.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)[0].tolist()[len(ids) :]
    sys.argv = ["builder", "-i", str(original), "-o", str(folder / "onnx"), "-c", str(folder / "cache")]
    sys.argv += ["-p", "fp32", "-e", "cpu", "--extra_options", "hf_token=false"]
    runpy.run_module("onnxruntime_genai.models.builder", run_name="__main__")
    (folder / "expected.json").write_text(json.dumps({"prompt": ids, "said": said}))


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for name in ("gemma", "gemma2"):
        make(name, place / name)
