//! The chat page at `/`: files that are part of the program, and nothing from elsewhere.
//!
//! The page speaks to the server as any client does. It is built of plain modules; Markdown is read
//! by marked and made safe by DOMPurify, which `tools/vendor_page.sh` fetches.

use crate::http::state::App;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use std::future::ready;
use utoipa_axum::router::OpenApiRouter;

/// What the page may do: run and show what comes from this server, and speak to this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// Where each file is, what it is, and its text.
macro_rules! files {
    ($($path:literal $kind:ident $file:literal)*) => {
        [$(($path, $kind, include_str!($file))),*]
    };
}

/// The files of the page.
const FILES: [(&str, &str, &str); 23] = files![
    "/" HTML "index.html"
    "/page/style.css" CSS "style.css"
    "/page/icon.svg" SVG "icon.svg"
    "/page/answer.js" SCRIPT "answer.js"
    "/page/app.js" SCRIPT "app.js"
    "/page/colours.js" SCRIPT "colours.js"
    "/page/conversation.js" SCRIPT "conversation.js"
    "/page/dialogs.js" SCRIPT "dialogs.js"
    "/page/dom.js" SCRIPT "dom.js"
    "/page/markdown.js" SCRIPT "markdown.js"
    "/page/messages.js" SCRIPT "messages.js"
    "/page/server.js" SCRIPT "server.js"
    "/page/settings.js" SCRIPT "settings.js"
    "/page/sidebar.js" SCRIPT "sidebar.js"
    "/page/sse.js" SCRIPT "sse.js"
    "/page/store.js" SCRIPT "store.js"
    "/page/theme.js" SCRIPT "theme.js"
    "/page/transfer.js" SCRIPT "transfer.js"
    "/page/watch.js" SCRIPT "watch.js"
    "/page/vendor/marked.esm.js" SCRIPT "vendor/marked.esm.js"
    "/page/vendor/purify.min.js" SCRIPT "vendor/purify.min.js"
    "/page/vendor/marked.LICENSE" TEXT "vendor/marked.LICENSE"
    "/page/vendor/purify.LICENSE" TEXT "vendor/purify.LICENSE"
];

/// The routes. No key is asked for here: the page asks its user for one.
pub fn routes() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::new();
    for (path, kind, text) in FILES {
        let tag = tag(text);
        let file = move |asked: HeaderMap| ready(answer(&asked, kind, text, tag));
        router = router.route(path, get(file));
    }
    router
}

/// A name of what `text` says, for a browser that has it already.
fn tag(text: &str) -> HeaderValue {
    let hash = Sha256::digest(text);
    let digits: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("\"{digits}\"")).expect("digits in quotes are a header's value")
}

/// A file, or the word that the browser's own is still right.
fn answer(asked: &HeaderMap, kind: &'static str, text: &'static str, tag: HeaderValue) -> Response {
    let known = asked.get_all(header::IF_NONE_MATCH).iter();
    let mut known = known
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','));
    let is_known = |known: &str| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    };
    let mut response = match known.any(is_known) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, kind)], text).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    for (name, value) in [
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
