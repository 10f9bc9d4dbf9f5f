"""What stands in somebody's model where its input embedding stood: E_T = A B, and an output layer tied to it.

Modules alone: `gtsearch.transplant` says what they may replace, and puts them there. gtsearch's own models have
`gtsearch.models.base.FactorisedEmbedding`.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Factorised(nn.Module):
    """Base of both kinds: E_T = A B with both factors trainable (Xu et al. 2025, section 2).

    Attributes:
        A: [d_vocab, d_W], the weak model's embedding.
        B: [d_W, d_embed].
    """

    def __init__(self, A: Tensor, B: Tensor) -> None:
        super().__init__()
        self.A = nn.Parameter(A)
        self.B = nn.Parameter(B)

    def extra_repr(self) -> str:
        return ", ".join(str(size) for size in (*self.A.shape, self.B.shape[1]))

    @abstractmethod
    def merged(self) -> nn.Embedding | nn.Linear:
        """The plain layer whose weight holds A B; outputs do not change but for rounding."""

    def _product(self) -> Tensor:
        with torch.no_grad():
            return self.A @ self.B

    def _trains(self) -> bool:
        return self.A.requires_grad or self.B.requires_grad


class FactorisedLookup(Factorised):
    """Stands where an `nn.Embedding` stood: token numbers in, rows of A B out.

    Args:
        A: [d_vocab, d_W]; the row of the padding token is set to 0, as `nn.Embedding` starts it.
        B: [d_W, d_embed].
        replaced: whose padding token and way of adding up gradients are kept.

    Examples:
        >>> import torch
        >>> lookup = FactorisedLookup(torch.ones(11, 3), torch.ones(3, 8), torch.nn.Embedding(11, 8))
        >>> lookup(torch.tensor([0, 10])).shape
        torch.Size([2, 8])
    """

    def __init__(self, A: Tensor, B: Tensor, replaced: nn.Embedding | FactorisedLookup) -> None:
        super().__init__(A, B)
        self.num_embeddings, self.embedding_dim = len(A), B.shape[1]
        self.padding_idx: int | None = replaced.padding_idx
        self.scale_grad_by_freq: bool = replaced.scale_grad_by_freq
        self.sparse: bool = replaced.sparse
        if self.padding_idx is not None:
            with torch.no_grad():
                self.A[self.padding_idx] = 0

    @property
    def weight(self) -> Tensor:
        """A B [d_vocab, d_embed], for code that reads the table itself. Gradients flow through it."""
        return self.A @ self.B

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [...] integers -> [..., d_embed]."""
        rows = F.embedding(
            tokens, self.A, self.padding_idx, scale_grad_by_freq=self.scale_grad_by_freq, sparse=self.sparse
        )
        # Autocast makes products half, and lookups not: a residual stream that starts here stays in the table's dtype.
        return (rows @ self.B).to(self.B.dtype)

    def merged(self) -> nn.Embedding:
        return nn.Embedding(
            self.num_embeddings,
            self.embedding_dim,
            self.padding_idx,
            scale_grad_by_freq=self.scale_grad_by_freq,
            sparse=self.sparse,
            _weight=self._product(),
            _freeze=not self._trains(),
        )


class FactorisedLinear(Factorised):
    """Stands where a model's first `nn.Linear` stood: x -> x A B + bias.

    Args:
        A: [in_features, d_W].
        B: [d_W, out_features].
        replaced: whose bias is kept, the very parameter; there may be none.

    Examples:
        >>> import torch
        >>> layer = FactorisedLinear(torch.ones(64, 3), torch.ones(3, 8), torch.nn.Linear(64, 8))
        >>> layer(torch.rand(5, 64)).shape
        torch.Size([5, 8])
    """

    bias: nn.Parameter | None

    def __init__(self, A: Tensor, B: Tensor, replaced: nn.Linear | FactorisedLinear) -> None:
        super().__init__(A, B)
        self.in_features, self.out_features = len(A), B.shape[1]
        self.register_parameter("bias", replaced.bias)

    @property
    def weight(self) -> Tensor:
        """(A B)^T [out_features, in_features], as `nn.Linear` has it. Gradients flow through it."""
        return (self.A @ self.B).T

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in_features] -> [..., out_features]; the product A B is never made."""
        return F.linear(x @ self.A, self.B.T, self.bias)

    def merged(self) -> nn.Linear:
        return linear(nn.Parameter(self._product().T.contiguous(), self._trains()), self.bias)


class TiedHead(nn.Module):
    """Stands where an output `nn.Linear` shared its weight with the input embedding: h -> h (A B)^T + bias.

    A and B are the table's. It is no submodule of this one, so they are counted, trained and saved once, where the
    table stands.

    Args:
        table: of the input embedding.
        replaced: whose bias is kept, the very parameter; there may be none.

    Examples:
        >>> import torch
        >>> table = FactorisedLookup(torch.ones(11, 3), torch.ones(3, 8), torch.nn.Embedding(11, 8))
        >>> head = TiedHead(table, torch.nn.Linear(8, 11, bias=False))
        >>> head(torch.rand(5, 8)).shape, list(head.state_dict())
        (torch.Size([5, 11]), [])
    """

    bias: nn.Parameter | None

    def __init__(self, table: FactorisedLookup, replaced: nn.Linear | TiedHead) -> None:
        super().__init__()
        self._tables = (table,)  # nn.Module takes in what is assigned to it, and looks into no tuple
        self.in_features, self.out_features = table.embedding_dim, table.num_embeddings
        self.register_parameter("bias", replaced.bias)

    @property
    def table(self) -> FactorisedLookup:
        """Whose A and B it reads."""
        return self._tables[0]

    @property
    def weight(self) -> Tensor:
        """A B [out_features, in_features], as `nn.Linear` has it. Gradients flow through it."""
        return self.table.weight

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [..., d_embed] -> [..., d_vocab]; the product A B is never made."""
        return F.linear(F.linear(hidden, self.table.B), self.table.A, self.bias)

    def merged(self, weight: nn.Parameter) -> nn.Linear:
        """The plain layer that shares `weight` [d_vocab, d_embed] with the merged table."""
        return linear(weight, self.bias)


def linear(weight: nn.Parameter, bias: nn.Parameter | None) -> nn.Linear:
    """An `nn.Linear` of these very parameters; weight [out_features, in_features], bias [out_features]."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = weight
    layer.register_parameter("bias", bias)
    return layer
