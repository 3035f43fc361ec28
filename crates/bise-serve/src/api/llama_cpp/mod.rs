//! llama.cpp's own interface: `/tokenize`, `/detokenize`, `/apply-template`, `/props` and
//! `/completion`. The rest of its paths are OpenAI's.

mod asked;
mod completion;
mod probabilities;
mod prompt;
mod props;
mod settings;
mod tokens;

use crate::http::state::App;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(tokens::tokenize))
        .routes(routes!(tokens::detokenize))
        .routes(routes!(tokens::apply_template))
        .routes(routes!(props::props))
        .routes(routes!(completion::completion))
}
