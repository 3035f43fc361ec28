//! What is measured: how it is called, what it means, and who keeps it.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// Bounds of times: of a pass, of the wait for a first token, of a whole request.
const SECONDS: [f64; 17] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 1800.0,
];
/// Bounds of the rows of a pass.
const ROWS: [f64; 12] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0,
];

/// What measurements of this process are read from. Servers of one process share it.
pub fn handle() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(install).clone()
}

fn install() -> PrometheusHandle {
    let mut builder = PrometheusBuilder::new();
    for (suffix, bounds) in [("_seconds", &SECONDS[..]), ("_rows", &ROWS)] {
        let matcher = Matcher::Suffix(suffix.to_owned());
        let set = builder.set_buckets_for_metric(matcher, bounds);
        builder = set.expect("there are bounds");
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    // A program that keeps measurements by itself gets them; then there are none here.
    let _ = metrics::set_global_recorder(recorder);
    describe();
    handle
}

fn describe() {
    let tokens = Unit::Count;
    describe_counter!("bise_requests_total", "Requests, by path and status.");
    describe_histogram!(
        "bise_request_seconds",
        Unit::Seconds,
        "From a request's head to the end of its response, by path."
    );
    describe_counter!("bise_prompt_tokens_total", tokens, "Tokens of prompts.");
    describe_counter!(
        "bise_cached_tokens_total",
        tokens,
        "Tokens of prompts that were known from earlier requests."
    );
    describe_counter!("bise_generated_tokens_total", tokens, "Tokens of answers.");
    describe_counter!(
        "bise_preemptions_total",
        "Answers that gave way to others for want of memory, and were computed again."
    );
    describe_histogram!(
        "bise_first_token_seconds",
        Unit::Seconds,
        "From when a request came to its first token."
    );
    describe_histogram!(
        "bise_pass_seconds",
        Unit::Seconds,
        "Time of a pass through the model."
    );
    describe_histogram!("bise_pass_rows", Unit::Count, "Tokens in a pass, of all texts.");
    describe_gauge!("bise_running_answers", "Answers that are being computed.");
    describe_gauge!("bise_waiting_answers", "Answers and embeddings that wait.");
    describe_gauge!(
        "bise_kv_bytes",
        Unit::Bytes,
        "Keys and values, those that are kept for later requests included."
    );
    describe_gauge!("bise_loaded_ratio", "The share of the weights that is loaded.");
}
