//! What is asked about models: `/api/tags`, `/api/show`, `/api/ps`, `/api/version`.

use super::options::check_name;
use crate::api::turns::{has_control, thinks};
use crate::fault::Fault;
use crate::http::body::Body;
use crate::http::state::App;
use crate::served::Served;
use axum::Json;
use axum::extract::State;
use bise_format::gguf;
use bise_kernels::tensor::Tensor;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The version of Ollama whose interface this is: front ends look whether it is new enough.
const INTERFACE: &str = "0.12.11";

/// All models: one, by each of its names.
#[derive(Serialize, ToSchema)]
#[schema(as = ollama::Tags)]
pub struct Tags {
    models: Vec<Tag>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ollama::Tag)]
struct Tag {
    name: String,
    model: String,
    modified_at: String,
    /// Bytes of weights.
    size: u64,
    digest: String,
    details: Details,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_vram: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<usize>,
}

#[derive(Clone, Serialize, ToSchema)]
#[schema(as = ollama::Details)]
struct Details {
    parent_model: String,
    format: String,
    family: String,
    families: Vec<String>,
    /// `7.2B`
    parameter_size: String,
    quantization_level: String,
}

/// The models that there are.
#[utoipa::path(get, path = "/api/tags", tag = "Ollama", responses(
    (status = 200, description = "The model, by each of its names.", body = Tags),
))]
pub async fn tags(State(app): State<App>) -> Result<Json<Tags>, Fault> {
    let served = app.served()?;
    let models = served.names.iter().map(|name| Tag::of(served, name));
    Ok(Json(Tags {
        models: models.collect(),
    }))
}

/// The models that are loaded.
#[utoipa::path(get, path = "/api/ps", tag = "Ollama", responses(
    (status = 200, description = "The model.", body = Tags),
))]
pub async fn ps(State(app): State<App>) -> Result<Json<Tags>, Fault> {
    /// Long enough to be never, short enough for every calendar.
    const LONG: SignedDuration = SignedDuration::from_hours(100 * 365 * 24);
    let served = app.served()?;
    let tag = Tag::of(served, served.name());
    let tag = Tag {
        expires_at: Timestamp::now()
            .checked_add(LONG)
            .ok()
            .map(|time| time.to_string()),
        size_vram: Some(0),
        context_length: Some(served.context),
        ..tag
    };
    Ok(Json(Tags { models: vec![tag] }))
}

impl Tag {
    fn of(served: &Served, name: &str) -> Self {
        let tensors = served.model.checkpoint().tensors.values();
        Self {
            name: name.to_owned(),
            model: name.to_owned(),
            modified_at: since(served),
            size: tensors.map(|tensor| tensor.len() as u64).sum(),
            digest: served.model.fingerprint().to_string(),
            details: Details::of(served),
            expires_at: None,
            size_vram: None,
            context_length: None,
        }
    }
}

fn since(served: &Served) -> String {
    Timestamp::try_from(served.since)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

impl Details {
    fn of(served: &Served) -> Self {
        let family = served.model.metadata().str("general.architecture").ok().flatten();
        let family = family.unwrap_or("llama").to_owned();
        // The type of most bytes.
        let mut types = BTreeMap::new();
        let tensors = || served.model.checkpoint().tensors.values();
        for tensor in tensors() {
            *types.entry(tensor.dtype().name()).or_insert(0) += tensor.len();
        }
        let most = types.into_iter().max_by_key(|(_, bytes)| *bytes);
        Self {
            parent_model: String::new(),
            format: "gguf".to_owned(),
            families: vec![family.clone()],
            family,
            parameter_size: parameters(tensors()),
            quantization_level: most.map_or(String::new(), |(name, _)| name.to_owned()),
        }
    }
}

/// How many weights there are, as models are called after it.
fn parameters<'t>(tensors: impl Iterator<Item = &'t Tensor>) -> String {
    let count: usize = tensors
        .map(|tensor| tensor.shape().iter().product::<usize>())
        .sum();
    match count as f64 {
        count if count >= 1e9 => format!("{:.1}B", count / 1e9),
        count if count >= 1e6 => format!("{:.1}M", count / 1e6),
        count => format!("{:.1}K", count / 1e3),
    }
}

/// A model about which something is asked.
#[derive(Deserialize, ToSchema)]
#[schema(as = ollama::Show)]
pub struct Show {
    model: Option<String>,
    /// Its older name.
    name: Option<String>,
    /// Whether the lists of tokens are wanted, too.
    verbose: Option<bool>,
}

/// What there is to say of a model.
#[derive(Serialize, ToSchema)]
#[schema(as = ollama::Shown)]
pub struct Shown {
    modelfile: String,
    parameters: String,
    template: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    license: Option<String>,
    details: Details,
    /// The file's metadata.
    #[schema(value_type = Object)]
    model_info: Map<String, Value>,
    /// `completion`, `tools`, `insert`, `thinking`, `embedding`.
    capabilities: Vec<&'static str>,
    modified_at: String,
}

/// What there is to say of the model.
#[utoipa::path(post, path = "/api/show", tag = "Ollama", request_body = Show, responses(
    (status = 200, description = "What its file says.", body = Shown),
))]
pub async fn show(
    State(app): State<App>,
    Body { value, .. }: Body<Show>,
) -> Result<Json<Shown>, Fault> {
    let served = app.served()?;
    check_name(served, &value.model.or(value.name).unwrap_or_default())?;
    let metadata = served.model.metadata();
    let text = |key: &str| metadata.str(key).ok().flatten();
    let verbose = value.verbose == Some(true);
    let is_shown = |value: &gguf::Value| verbose || !matches!(value, gguf::Value::Array(_));
    let shown = metadata.iter().filter(|(_, value)| is_shown(value));
    let options = &served.sampling;
    Ok(Json(Shown {
        modelfile: format!("FROM {}\n", served.name()),
        parameters: format!(
            "temperature {}\ntop_k {}\ntop_p {}\nmin_p {}\n",
            options.temperature, options.top_k, options.top_p, options.min_p
        ),
        template: served.template_text(),
        license: text("general.license").map(str::to_owned),
        details: Details::of(served),
        model_info: shown.map(|(key, value)| (key.to_owned(), json(value))).collect(),
        capabilities: capabilities(served),
        modified_at: since(served),
    }))
}

fn capabilities(served: &Served) -> Vec<&'static str> {
    let fills_gaps = ["[SUFFIX]", "[PREFIX]"]
        .iter()
        .all(|name| has_control(served, name));
    let tools = served.template.tool_calls_token(&served.tokenizer).is_some();
    let all = [
        ("completion", true),
        ("tools", tools),
        ("insert", fills_gaps),
        ("thinking", thinks(served)),
    ];
    all.into_iter()
        .filter(|(_, has)| *has)
        .map(|(name, _)| name)
        .collect()
}

/// A value of a file's metadata. Numbers of 32 bits are as short as they can be.
fn json(value: &gguf::Value) -> Value {
    match value {
        gguf::Value::String(text) => text.as_str().into(),
        gguf::Value::Bool(truth) => (*truth).into(),
        gguf::Value::Array(array) => array.values().iter().map(json).collect(),
        number => serde_json::from_str(&number.to_string()).unwrap_or_default(),
    }
}

/// The version of the interface.
#[derive(Serialize, ToSchema)]
#[schema(as = ollama::Version)]
pub struct Version {
    version: &'static str,
    /// Who speaks it.
    server: &'static str,
}

/// The version of Ollama's interface that is spoken.
#[utoipa::path(get, path = "/api/version", tag = "Ollama", responses(
    (status = 200, description = "The version.", body = Version),
))]
pub async fn version() -> Json<Version> {
    Json(Version {
        version: INTERFACE,
        server: concat!("bise ", env!("CARGO_PKG_VERSION")),
    })
}
