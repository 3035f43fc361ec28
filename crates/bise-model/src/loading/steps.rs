//! GGUF's names of the tensors that steps of a forward pass take.

use crate::decoder::Step;
use crate::names::{EMBEDDINGS, OUTPUT, OUTPUT_NORM, of_expert, of_experts, of_layer};

/// The matrices whose input comes out of `step`, if there are any; those of experts are stacked.
pub(crate) fn matrices(step: Step, layer: usize, mixture: bool) -> Vec<String> {
    let parts: &[&str] = match (step, mixture) {
        (Step::OutputNorm, _) => return vec![OUTPUT.to_owned()],
        (Step::AttentionNorm, _) => &["attn_q", "attn_k", "attn_v"],
        (Step::Heads, _) => &["attn_output"],
        (Step::ExpertInput(_), _) => &["ffn_gate", "ffn_up"],
        (Step::Hidden(_), _) => &["ffn_down"],
        _ => &[],
    };
    let stacked = mixture && matches!(step, Step::ExpertInput(_) | Step::Hidden(_));
    let name = |part: &&str| match stacked {
        true => of_experts(layer, part),
        false => of_layer(layer, part),
    };
    parts.iter().map(name).collect()
}

/// What a step is called after the tensor that makes it, and the tensors that have a part in it.
pub(crate) fn step_tensors(step: Step, layer: usize, mixture: bool) -> (String, Vec<String>) {
    let (part, expert) = match step {
        Step::Embeddings => return ("token_embd".to_owned(), vec![EMBEDDINGS.to_owned()]),
        Step::OutputNorm => return ("output_norm".to_owned(), vec![OUTPUT_NORM.to_owned()]),
        Step::Logits => return ("output".to_owned(), vec![OUTPUT.to_owned()]),
        Step::AttentionNorm => ("attn_norm", None),
        Step::Query => ("attn_q", None),
        Step::Key => ("attn_k", None),
        Step::Value => ("attn_v", None),
        Step::Heads => ("attention", None),
        Step::AttentionOutput | Step::AfterAttention => ("attn_output", None),
        Step::FeedForwardNorm => ("ffn_norm", None),
        Step::Router => ("ffn_gate_inp", None),
        Step::ExpertInput(e) => ("ffn_norm", Some(e)),
        Step::Gate(e) | Step::Hidden(e) => ("ffn_gate", Some(e)),
        Step::Up(e) => ("ffn_up", Some(e)),
        Step::Down(e) => ("ffn_down", Some(e)),
        Step::AfterFeedForward => ("ffn_down", None),
    };
    match expert.filter(|_| mixture) {
        None => (format!("layer {layer}, {part}"), vec![of_layer(layer, part)]),
        Some(e) => (
            format!("layer {layer}, {part}, expert {e}"),
            vec![of_experts(layer, part), of_expert(layer, part, e)],
        ),
    }
}
