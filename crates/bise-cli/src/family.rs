//! The published model that a configuration is of, or is made from: by its shape.

use bise_format::gguf::Metadata;
use bise_format::llama::ScalingKind;
use bise_model::Config;

/// Dense models by their dimension, layers, width of the feed-forward network, and vocabulary.
const DENSE: [(&str, usize, usize, usize, usize); 7] = [
    ("Mistral Nemo 12B", 5120, 40, 14336, 131072),
    ("Ministral 8B", 4096, 36, 12288, 131072),
    ("Mistral Small 24B", 5120, 40, 32768, 131072),
    ("Ministral 3 3B", 3072, 26, 9216, 131072),
    ("Ministral 3 8B", 4096, 34, 14336, 131072),
    ("Ministral 3 14B", 5120, 40, 16384, 131072),
    ("Codestral 22B", 6144, 56, 16384, 32768),
];

/// What `config` is, as a person would say it: the name, whether it was trained to answer, and how
/// it tells positions apart where that is not plain.
pub fn describe(config: &Config, vocabulary: usize, metadata: &Metadata) -> String {
    let mut text = name(config, vocabulary).to_owned();
    if let Some(kind) = training(metadata) {
        text = format!("{text} {kind}");
    }
    if let Some(experts) = config.experts {
        text = format!(
            "{text}: {} experts, {} for each token",
            experts.count, experts.top_k
        );
    }
    match positions(config) {
        Some(positions) => format!("{text}, {positions}"),
        None => text,
    }
}

fn name(c: &Config, vocabulary: usize) -> &'static str {
    let is = |dim, layers, hidden| (c.dim, c.layers.len(), c.hidden_dim) == (dim, layers, hidden);
    let theta = c.layers[0].rope.theta;
    let yarn = matches!(c.layers[0].rope.scaling.kind, ScalingKind::Yarn(_));
    let dense = DENSE
        .iter()
        .find(|(_, dim, layers, hidden, words)| is(*dim, *layers, *hidden) && *words == vocabulary);
    match (c.experts.map(|experts| experts.count), dense) {
        (Some(8), _) if is(4096, 32, 14336) => "Mixtral 8x7B",
        (Some(8), _) if is(6144, 56, 16384) => "Mixtral 8x22B",
        (Some(_), _) => "Mixtral",
        (None, _) if is(5120, 40, 32768) && yarn => "Devstral Small 2 24B",
        (None, _) if is(12288, 88, 28672) && yarn => "Devstral 2 123B",
        (None, _) if is(12288, 88, 28672) => "Mistral Large 2 123B",
        (None, Some((name, ..))) => name,
        (None, _) if c.window_restored => "Mistral v0.1",
        (None, _) if !is(4096, 32, 14336) => "Mistral",
        (None, _) if theta == 1e4 => "Mistral 7B v0.1",
        (None, _) if theta == 1e6 && vocabulary < 32768 => "Mistral 7B v0.2",
        (None, _) if theta == 1e6 => "Mistral 7B v0.3",
        (None, _) => "Mistral",
    }
}

/// What the model was trained for last, when its file says: `Instruct`, `Reasoning` and the like.
fn training(metadata: &Metadata) -> Option<String> {
    const KINDS: [&str; 3] = ["Instruct", "Reasoning", "Base"];
    let stated = |key| metadata.str(key).ok().flatten().filter(|text| !text.is_empty());
    let of_name = || {
        let name = stated("general.name")?.to_lowercase();
        KINDS.into_iter().find(|kind| name.contains(&kind.to_lowercase()))
    };
    stated("general.finetune").or_else(of_name).map(str::to_owned)
}

/// How positions are scaled, and whether queries grow.
fn positions(config: &Config) -> Option<String> {
    let rope = &config.layers[0].rope;
    let scaled = match rope.scaling.kind {
        ScalingKind::Yarn(yarn) => Some(format!(
            "{} tokens by YaRN from {}",
            config.context_length, yarn.length
        )),
        ScalingKind::Linear { factor } => Some(format!(
            "{} tokens by positions divided by {factor}",
            config.context_length
        )),
        _ if rope.factors.is_some() => Some(format!(
            "{} tokens by factors of its frequencies",
            config.context_length
        )),
        _ => None,
    };
    let grown = rope.temperature.map(|temperature| {
        let (beta, length) = (temperature.beta, temperature.length);
        format!("queries growing by {beta} ln(1 + position / {length})")
    });
    let parts: Vec<String> = [scaled, grown].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
