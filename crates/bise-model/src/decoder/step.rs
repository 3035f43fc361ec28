//! The steps of a forward pass, for who looks on.

/// A step, by what comes out of it. Experts are counted from 0; a dense network is expert 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The rows of the embeddings, `[n, dim]`.
    Embeddings,
    /// The input of Q, K and V, `[n, dim]`.
    AttentionNorm,
    /// Rotated queries, `[n, n_heads, head_dim]`.
    Query,
    /// Rotated keys, `[n, n_kv_heads, head_dim]`.
    Key,
    /// Values, `[n, n_kv_heads, head_dim]`.
    Value,
    /// What the heads found, `[n, n_heads, head_dim]`: the input of the output projection.
    Heads,
    /// What attention adds to the residual stream, `[n, dim]`.
    AttentionOutput,
    /// The residual stream after attention, `[n, dim]`.
    AfterAttention,
    /// The input of the feed-forward layer, `[n, dim]`.
    FeedForwardNorm,
    /// The router's logits, `[n, experts]`.
    Router,
    /// The input of an expert, `[tokens, dim]`.
    ExpertInput(usize),
    /// `w1 x`, `[tokens, hidden_dim]`.
    Gate(usize),
    /// `w3 x`, `[tokens, hidden_dim]`.
    Up(usize),
    /// `silu(w1 x) * w3 x`, `[tokens, hidden_dim]`: the input of the down projection.
    Hidden(usize),
    /// What an expert finds, `[tokens, dim]`.
    Down(usize),
    /// The residual stream after the block, `[n, dim]`.
    AfterFeedForward,
    /// The input of the output matrix, `[rows, dim]`.
    OutputNorm,
    /// Logits, `[rows, vocabulary]`.
    Logits,
}

/// Looks at what comes out of the steps of a layer, in their order.
pub(crate) type See<'a> = &'a mut dyn FnMut(Step, &[f32]);

/// Whether all of `x` are finite numbers.
pub(crate) fn finite(x: &[f32]) -> bool {
    // No early end: this way it is done in vectors.
    !x.iter().fold(false, |bad, x| bad | !x.is_finite())
}
