//! `/props`

use super::settings::Settings;
use crate::fault::Fault;
use crate::http::state::App;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// What there is to say of the server.
#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Props)]
pub struct Props {
    default_generation_settings: Defaults,
    /// Answers that are written at a time at most.
    total_slots: usize,
    /// The model's name: where its file is, is nobody's business.
    model_path: String,
    /// The Jinja template, or the name of Mistral's format.
    chat_template: String,
    modalities: Modalities,
    build_info: &'static str,
    is_sleeping: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Defaults)]
struct Defaults {
    /// Tokens of a text at most, prompt and answer together.
    n_ctx: usize,
    params: Settings,
}

#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Modalities)]
struct Modalities {
    vision: bool,
    audio: bool,
}

/// What there is to say of the server
#[utoipa::path(get, path = "/props", tag = "llama.cpp", responses(
    (status = 200, description = "How it runs which model.", body = Props),
))]
pub async fn props(State(app): State<App>) -> Result<Json<Props>, Fault> {
    let served = app.served()?;
    Ok(Json(Props {
        default_generation_settings: Defaults {
            n_ctx: served.context,
            params: Settings::new(&served.sampling, None),
        },
        total_slots: served.sequences,
        model_path: served.name().to_owned(),
        chat_template: served.template_text(),
        modalities: Modalities {
            vision: false,
            audio: false,
        },
        build_info: concat!("bise ", env!("CARGO_PKG_VERSION")),
        is_sleeping: false,
    }))
}
