//! `adapter_config.json`: what of it matters, and what is refused.

use super::key::MERGE;
use super::pattern::{Modules, Pattern};
use crate::TensorName;
use crate::error::OpenError;
use crate::small_file::read_bounded_json;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The name of the file.
pub(super) const CONFIG: &str = "adapter_config.json";

/// What an entry that changes results must be like, to be as if it were not there.
#[derive(Clone, Copy)]
enum Neutral {
    /// Null, false, 0 or empty.
    Nothing,
    /// One of these texts, or nothing.
    Texts(&'static [&'static str]),
}

/// Entries that change results in ways that are not supported.
const REFUSED: [(&str, Neutral, &str); 15] = [
    ("use_dora", Neutral::Nothing, MERGE),
    ("bias", Neutral::Texts(&["none"]), MERGE),
    ("lora_bias", Neutral::Nothing, MERGE),
    ("modules_to_save", Neutral::Nothing, MERGE),
    ("target_parameters", Neutral::Nothing, MERGE),
    ("trainable_token_indices", Neutral::Nothing, MERGE),
    ("layer_replication", Neutral::Nothing, MERGE),
    ("use_qalora", Neutral::Nothing, MERGE),
    ("use_bdlora", Neutral::Nothing, MERGE),
    ("arrow_config", Neutral::Nothing, MERGE),
    ("kasa_config", Neutral::Nothing, MERGE),
    ("monteclora_config", Neutral::Nothing, MERGE),
    ("alora_invocation_tokens", Neutral::Nothing, INVOKED),
    ("invocation_string", Neutral::Nothing, INVOKED),
    // Other texts take something from the model's own weights before training: the adapter is for
    // what is left of them.
    (
        "init_lora_weights",
        Neutral::Texts(&["gaussian", "eva", "orthogonal", "mica", "true", "false"]),
        "save it with PEFT as an ordinary adapter (save_pretrained's \
         path_initial_model_for_weight_conversion), or merge it",
    ),
];

/// What to do about an adapter that counts from some tokens on.
const INVOKED: &str = "use PEFT, or an ordinary adapter: this one counts from its invocation on";

/// Entries that are applied, or of no weight once an adapter is trained.
const KNOWN: [&str; 30] = [
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    // Of maps that are stored the other way round, which no Mistral has: PEFT turns it off.
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_rslora",
    "velora_config",
    // Of adapters of 2023.
    "enable_lora",
    "merge_weights",
];

/// Patterns of ranks and alphas, at most.
const MOST_PATTERNS: usize = 1 << 13;

/// Those among them that are more than names.
const MOST_REGEXES: usize = 16;

/// What the file says.
pub(super) struct Config {
    path: PathBuf,
    base: Option<String>,
    rank: f64,
    alpha: f64,
    by_root: bool,
    ranks: Vec<(Pattern, f64)>,
    alphas: Vec<(Pattern, f64)>,
    /// All modules when `None`.
    targets: Option<Modules>,
    excluded: Option<Modules>,
    /// All layers when `None`.
    layers: Option<Vec<u64>>,
    layers_patterns: Vec<String>,
    ties: bool,
}

impl Config {
    /// Reads the file in `folder`, and adds to `notes` what the user should know.
    pub(super) fn read(folder: &Path, notes: &mut Vec<String>) -> Result<Self, OpenError> {
        let path = folder.join(CONFIG);
        let missing = || OpenError::unsupported(folder, format!("there is no {CONFIG}"));
        let entries: Map<String, Value> = read_bounded_json(&path)?.ok_or_else(missing)?;
        let entries = Entries {
            path: &path,
            entries: &entries,
        };
        entries.check(notes)?;
        let texts = |key| entries.texts(key).map(Option::unwrap_or_default);
        Ok(Self {
            base: entries.text("base_model_name_or_path")?,
            rank: entries.number("r")?.unwrap_or(8.0),
            alpha: entries.number("lora_alpha")?.unwrap_or(8.0),
            by_root: entries.truth("use_rslora")?,
            ranks: entries.patterns("rank_pattern")?,
            alphas: entries.patterns("alpha_pattern")?,
            targets: entries.modules("target_modules", notes)?,
            excluded: entries.modules("exclude_modules", notes)?,
            layers: entries.layers()?,
            layers_patterns: texts("layers_pattern")?,
            ties: entries.truth("ensure_weight_tying")?,
            path,
        })
    }

    /// The model that the adapter was trained on.
    pub(super) fn base(&self) -> Option<&str> {
        self.base.as_deref().filter(|base| !base.is_empty())
    }

    /// Whether PEFT would apply tensors of `module`.
    pub(super) fn targets(&self, module: &str) -> bool {
        let within = |modules: &Option<Modules>, otherwise| {
            modules.as_ref().map_or(otherwise, |some| some.contains(module))
        };
        let is_named = match &self.targets {
            Some(Modules::Names(names)) => names.iter().any(|name| name == module),
            _ => false,
        };
        within(&self.targets, true)
            && !within(&self.excluded, false)
            && (is_named
                || self
                    .layers
                    .as_ref()
                    .is_none_or(|layers| self.is_in(layers, module)))
    }

    /// Whether the layer's number in a path is one of `layers`, as PEFT reads it:
    ///
    /// ```text
    /// .*?\.[^.]*\.(\d+)\.              without layers_pattern
    /// (^|.*?\.)PATTERN\.(\d+)\.        with it
    /// ```
    fn is_in(&self, layers: &[u64], module: &str) -> bool {
        let (parts, patterns): (Vec<&str>, _) =
            (module.split('.').collect(), &self.layers_patterns);
        let number = |i: usize| {
            let digits = parts[i].bytes().all(|byte| byte.is_ascii_digit());
            let named = patterns.iter().any(|name| name == parts[i - 1]);
            let counts = if patterns.is_empty() { i > 1 } else { named };
            parts[i].parse().ok().filter(|_| digits && counts)
        };
        let first = (1..parts.len().saturating_sub(1)).find_map(number);
        first.is_some_and(|number: u64| layers.contains(&number))
    }

    /// What the product for `module` is multiplied by: `alpha / rank` or `alpha / sqrt(rank)`.
    ///
    /// # Errors
    /// When the rank of the tensors, `found`, is not what is said of the module.
    pub(super) fn scale(&self, module: &str, found: usize) -> Result<f64, OpenError> {
        let first = |patterns: &[(Pattern, f64)], usual| {
            let found = patterns.iter().find(|(pattern, _)| pattern.matches(module));
            found.map_or(usual, |(_, value)| *value)
        };
        let (rank, alpha) = (first(&self.ranks, self.rank), first(&self.alphas, self.alpha));
        if rank != found as f64 {
            let what = format!(
                "the tensors of {module} are of rank {found}, expected {rank}, as r and rank_pattern say"
            );
            return Err(OpenError::unsupported(&self.path, what));
        }
        Ok(alpha / if self.by_root { rank.sqrt() } else { rank })
    }

    /// Refuses updates of embeddings that are the output matrix's too.
    pub(super) fn check_tying<'t>(
        &self,
        mut targets: impl Iterator<Item = &'t TensorName>,
    ) -> Result<(), OpenError> {
        let outside = [TensorName::Embedding, TensorName::Output];
        if !self.ties || !targets.any(|target| outside.contains(target)) {
            return Ok(());
        }
        let problem = "ensure_weight_tying is true, which is not supported for embeddings";
        Err(OpenError::misplaced(&self.path, problem, MERGE))
    }
}

/// The entries of the file.
struct Entries<'a> {
    path: &'a Path,
    entries: &'a Map<String, Value>,
}

impl Entries<'_> {
    /// The entry, if it is not null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, expected: &str) -> OpenError {
        let found = brief(&self.entries[key]);
        OpenError::unsupported(self.path, format!("{key} is {found}, expected {expected}"))
    }

    /// Refuses what changes results and is not supported, and notes what is not known.
    fn check(&self, notes: &mut Vec<String>) -> Result<(), OpenError> {
        let kind = self.text("peft_type")?.unwrap_or_default();
        if kind != "LORA" {
            let problem = format!("peft_type is {kind:?}, expected \"LORA\"");
            return Err(OpenError::misplaced(self.path, problem, MERGE));
        }
        for (key, neutral, cure) in REFUSED {
            let Some(value) = self.get(key) else { continue };
            let spelled = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_lowercase);
            let is_neutral = match neutral {
                Neutral::Nothing => is_nothing(value),
                Neutral::Texts(texts) => texts.contains(&&*spelled),
            };
            if !is_neutral {
                let problem = format!(
                    "{key} is {}, which changes the result and is not supported",
                    brief(value)
                );
                return Err(OpenError::misplaced(self.path, problem, cure));
            }
        }
        for (key, value) in self.entries {
            let known = KNOWN.contains(&&**key) || REFUSED.iter().any(|(other, ..)| other == key);
            if !known && !is_nothing(value) {
                notes.push(format!(
                    "{CONFIG}: `{key}` is not known and was passed over: {}",
                    brief(value)
                ));
            }
        }
        Ok(())
    }

    fn text(&self, key: &str) -> Result<Option<String>, OpenError> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let found = self.get(key).map(text);
        found
            .map(|text| text.ok_or_else(|| self.wrong(key, "a text")))
            .transpose()
    }

    fn truth(&self, key: &str) -> Result<bool, OpenError> {
        let found = self.get(key).map(Value::as_bool);
        found.map_or(Ok(false), |truth| {
            truth.ok_or_else(|| self.wrong(key, "true or false"))
        })
    }

    fn number(&self, key: &str) -> Result<Option<f64>, OpenError> {
        let found = self.get(key).map(Value::as_f64);
        found
            .map(|number| number.ok_or_else(|| self.wrong(key, "a number")))
            .transpose()
    }

    /// A text, or a list of them.
    fn texts(&self, key: &str) -> Result<Option<Vec<String>>, OpenError> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let texts = match self.get(key) {
            None => return Ok(None),
            Some(Value::Array(values)) => values.iter().map(text).collect::<Option<Vec<_>>>(),
            Some(value) => text(value).map(|text| vec![text]),
        };
        texts.map(Some).ok_or_else(|| self.wrong(key, "texts"))
    }

    /// From patterns to numbers.
    fn patterns(&self, key: &str) -> Result<Vec<(Pattern, f64)>, OpenError> {
        let wrong = || self.wrong(key, "numbers by patterns of modules");
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let entries = value.as_object().ok_or_else(wrong)?;
        if entries.len() > MOST_PATTERNS {
            let (count, most) = (entries.len(), MOST_PATTERNS);
            let what = format!("{key} has {count} patterns, expected at most {most}");
            return Err(OpenError::unsupported(self.path, what));
        }
        let mut regexes = 0;
        let entry = |(pattern, value): (&String, &Value)| {
            let number = value.as_f64().ok_or_else(wrong)?;
            let found = Pattern::new(pattern).filter(|found| {
                regexes += usize::from(found.is_regex());
                regexes <= MOST_REGEXES
            });
            Ok((found.ok_or_else(|| self.unread(key, pattern))?, number))
        };
        entries.iter().map(entry).collect()
    }

    fn unread(&self, key: &str, pattern: &str) -> OpenError {
        let problem = format!(
            "{key} has `{pattern}`, a regular expression that bise does not read, or one of more than {MOST_REGEXES}"
        );
        let cure = "name the modules instead, in the same order";
        OpenError::misplaced(self.path, problem, cure)
    }

    /// A list of names, or a regular expression. One that cannot be read is passed over: what an
    /// adapter was saved for is in its file.
    fn modules(&self, key: &str, notes: &mut Vec<String>) -> Result<Option<Modules>, OpenError> {
        let Some(Value::String(pattern)) = self.get(key) else {
            let names = self.texts(key)?.filter(|names| !names.is_empty());
            return Ok(names.map(Modules::Names));
        };
        if pattern == "all-linear" || pattern.is_empty() {
            return Ok(None);
        }
        let found = Modules::regex(pattern);
        if found.is_none() {
            notes.push(format!(
                "{CONFIG}: {key} is a regular expression that bise does not read: all tensors of the file count"
            ));
        }
        Ok(found)
    }

    /// The numbers of the layers that are adapted.
    fn layers(&self) -> Result<Option<Vec<u64>>, OpenError> {
        let key = "layers_to_transform";
        let layers = match self.get(key) {
            None => return Ok(None),
            Some(Value::Array(values)) if values.is_empty() => return Ok(None),
            Some(Value::Array(values)) => values.iter().map(Value::as_u64).collect(),
            Some(value) => value.as_u64().map(|layer| vec![layer]),
        };
        let layers: Option<Vec<u64>> = layers;
        layers
            .map(Some)
            .ok_or_else(|| self.wrong(key, "numbers of layers"))
    }
}

/// Whether Python takes a value for false.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    }
}

/// A value on one line, cut where it is long.
fn brief(value: &Value) -> String {
    const MOST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(config: Value) -> Result<(Config, Vec<String>), String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG), config.to_string()).unwrap();
        let mut notes = Vec::new();
        let config = Config::read(folder.path(), &mut notes);
        config
            .map(|config| (config, notes))
            .map_err(|e| crate::full_text(&e))
    }

    fn with(key: &str, value: Value) -> Value {
        let mut config = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 6});
        config[key] = value;
        config
    }

    #[test]
    fn scales_are_those_of_peft() {
        let query = "model.layers.1.self_attn.q_proj";
        let scale = |config, rank| read(config).unwrap().0.scale(query, rank).unwrap();
        assert_eq!(scale(with("x", Value::Null), 4), 1.5);
        assert_eq!(scale(with("use_rslora", json!(true)), 4), 3.0);
        assert_eq!(
            scale(
                with("rank_pattern", json!({"v_proj": 9, "q_proj": 2, ".*": 5})),
                2
            ),
            3.0
        );
        assert_eq!(
            scale(
                with("alpha_pattern", json!({"v_proj": 9, "self_attn.q_proj": 1})),
                4
            ),
            0.25
        );
        assert_eq!(scale(json!({"peft_type": "LORA"}), 8), 1.0);
        let error = read(with("r", json!(0))).unwrap().0.scale(query, 4).unwrap_err();
        assert!(error.to_string().contains("rank 4, expected 0"), "{error}");
    }

    #[test]
    fn what_changes_results_is_refused_by_name() {
        for (key, value) in [
            ("use_dora", json!(true)),
            ("bias", json!("all")),
            ("bias", json!("lora_only")),
            ("lora_bias", json!(true)),
            ("modules_to_save", json!(["lm_head"])),
            ("target_parameters", json!(["mlp.experts.gate_up_proj"])),
            ("trainable_token_indices", json!({"embed_tokens": [1]})),
            ("layer_replication", json!([[0, 2]])),
            ("alora_invocation_tokens", json!([1, 2])),
            ("init_lora_weights", json!("pissa_niter_4")),
            ("init_lora_weights", json!("olora")),
            ("peft_type", json!("LOHA")),
            ("rank_pattern", json!({"(?!q)": 2})),
            ("rank_pattern", json!({"q": "2"})),
            ("lora_alpha", json!("6")),
            ("layers_to_transform", json!([-1])),
            ("target_modules", json!([1])),
        ] {
            let error = read(with(key, value.clone())).err().unwrap();
            assert!(
                error.contains(key) && error.contains(CONFIG),
                "{key} {value}: {error}"
            );
        }
        for (key, value) in [
            ("use_dora", json!(false)),
            ("bias", json!("none")),
            ("modules_to_save", json!([])),
            ("modules_to_save", Value::Null),
            ("init_lora_weights", json!(true)),
            ("init_lora_weights", json!("gaussian")),
            ("fan_in_fan_out", json!(true)),
            ("of_tomorrow", Value::Null),
        ] {
            assert!(read(with(key, value)).unwrap().1.is_empty(), "{key}");
        }
        let (_, notes) = read(with("of_tomorrow", json!(3))).unwrap();
        assert!(notes[0].contains("`of_tomorrow` is not known"), "{notes:?}");
    }

    #[test]
    fn modules_are_those_of_peft() {
        let targets = |config, module: &str| read(config).unwrap().0.targets(module);
        let config = json!({
            "peft_type": "LORA", "target_modules": ["q_proj", "w1"], "layers_to_transform": [1],
        });
        assert!(targets(config.clone(), "model.layers.1.self_attn.q_proj"));
        assert!(!targets(config.clone(), "model.layers.0.self_attn.q_proj"));
        assert!(!targets(config.clone(), "model.layers.1.self_attn.k_proj"));
        // The layer's number, not the expert's.
        assert!(!targets(
            config.clone(),
            "model.layers.0.block_sparse_moe.experts.1.w1"
        ));
        assert!(targets(config, "model.layers.1.block_sparse_moe.experts.0.w1"));
        let regex = json!({"peft_type": "LORA", "target_modules": ".*[qk]_proj", "exclude_modules": ["k_proj"]});
        assert!(targets(regex.clone(), "model.layers.0.self_attn.q_proj"));
        assert!(!targets(regex, "model.layers.0.self_attn.k_proj"));
    }
}
