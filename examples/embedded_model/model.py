# SPDX-License-Identifier: Apache-2.0
"""NemotronForCausalLM in plain PyTorch, laid out for training on two cores.

The mathematics and the parameter names are those of transformers' `NemotronForCausalLM` (a test loads the
same weights into both); what differs is that the vocabulary's logits are computed only at the
positions that bear a loss, which are about a tenth of all.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    vocab_size: int = 3072
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 5
    num_attention_heads: int = 4
    num_key_value_heads: int = 4
    head_dim: int = 64
    partial_rotary_factor: float = 0.5
    rope_theta: float = 10000.0
    max_position_embeddings: int = 4096
    norm_eps: float = 1e-6

    def hf(self) -> dict[str, object]:
        """The config.json of transformers."""
        d: dict[str, object] = dict(asdict(self))
        d |= {
            "architectures": ["NemotronForCausalLM"],
            "model_type": "nemotron",
            "hidden_act": "relu2",
            "tie_word_embeddings": True,
            "attention_bias": False,
            "mlp_bias": False,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "pad_token_id": 0,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": self.rope_theta,
                "partial_rotary_factor": self.partial_rotary_factor,
            },
            "initializer_range": 0.02,
            "torch_dtype": "float32",
        }
        return d


class Norm1p(nn.Module):
    """Layer norm whose weight is stored minus one."""

    def __init__(self, n: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n))
        self.bias = nn.Parameter(torch.zeros(n))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weight.to(x.dtype) + 1, self.bias.to(x.dtype), self.eps)


def rotary(length: int, dim: int, theta: float) -> tuple[Tensor, Tensor]:
    inv = 1.0 / theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    angle = torch.outer(torch.arange(length, dtype=torch.float32), inv)
    angle = torch.cat([angle, angle], -1)
    return angle.cos(), angle.sin()


BLOCK = 256


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention. In blocks of plain products: on a CPU faster than the fused kernel up to 768 positions."""
    t = q.shape[2]
    if t > 3 * BLOCK or q.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    q = q * q.shape[-1] ** -0.5
    out: list[Tensor] = []
    for start in range(0, t, BLOCK):
        stop = min(t, start + BLOCK)
        scores = q[:, :, start:stop] @ k[:, :, :stop].transpose(-1, -2)
        hidden = torch.full((stop - start, stop), -1e9, dtype=q.dtype).triu(start + 1)
        out.append(torch.softmax(scores + hidden, -1) @ v[:, :, :stop])
    return torch.cat(out, 2)


class SquaredRelu(torch.autograd.Function):
    """relu(x)**2 that keeps one tensor for its gradient instead of two."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[override]
        r = F.relu(x)
        ctx.save_for_backward(r)
        return r * r

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:  # type: ignore[override]
        (r,) = ctx.saved_tensors
        return g * r * 2


class Attention(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        self.c = c
        self.q_proj = nn.Linear(c.hidden_size, c.num_attention_heads * c.head_dim, bias=False)
        self.k_proj = nn.Linear(c.hidden_size, c.num_key_value_heads * c.head_dim, bias=False)
        self.v_proj = nn.Linear(c.hidden_size, c.num_key_value_heads * c.head_dim, bias=False)
        self.o_proj = nn.Linear(c.num_attention_heads * c.head_dim, c.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        c, (b, t, _) = self.c, x.shape
        q = self.q_proj(x).view(b, t, c.num_attention_heads, c.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(b, t, c.num_key_value_heads, c.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(b, t, c.num_key_value_heads, c.head_dim).transpose(1, 2)
        q, k = self._rotate(q, cos, sin), self._rotate(k, cos, sin)
        groups = c.num_attention_heads // c.num_key_value_heads
        if groups > 1:
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        y = attend(q, k, v)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, -1))

    @staticmethod
    def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        r = cos.shape[-1]
        turned, rest = x[..., :r], x[..., r:]
        half = r // 2
        swapped = torch.cat([-turned[..., half:], turned[..., :half]], -1)
        return torch.cat([turned * cos + swapped * sin, rest], -1)


class MLP(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        self.up_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.down_proj = nn.Linear(c.intermediate_size, c.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(SquaredRelu.apply(self.up_proj(x)))


class Layer(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        self.self_attn = Attention(c)
        self.mlp = MLP(c)
        self.input_layernorm = Norm1p(c.hidden_size, c.norm_eps)
        self.post_attention_layernorm = Norm1p(c.hidden_size, c.norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Inner(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.num_hidden_layers))
        self.norm = Norm1p(c.hidden_size, c.norm_eps)


class Nemotron(nn.Module):
    """ids [b, t] -> hidden states [b, t, h]; `logits` turns chosen hidden states into scores."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.c = c
        self.model = Inner(c)
        cos, sin = rotary(c.max_position_embeddings, int(c.head_dim * c.partial_rotary_factor), c.rope_theta)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                scale = 0.02
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    scale /= (2 * c.num_hidden_layers) ** 0.5
                nn.init.normal_(p, std=scale)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.model.embed_tokens(ids)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.bfloat16)
        t = ids.shape[1]
        cos, sin = self.cos[:t].to(x.dtype), self.sin[:t].to(x.dtype)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        return self.model.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.model.embed_tokens.weight.to(hidden.dtype))
