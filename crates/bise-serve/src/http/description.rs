//! The description of all routes, as OpenAPI has it.

use super::form::{AnthropicError, Form, OllamaError, OpenAiError};
use axum::body::Bytes;
use serde_json::{Value, json};
use utoipa::OpenApi;

/// What all routes have in common.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "bise",
        description = "A model for the clients of OpenAI, Ollama, Anthropic, Mistral and \
                       llama.cpp. All paths that begin with /v1 are there without it too, and \
                       slashes at the end do not matter. The answer to a request with its seed \
                       does not depend on what else is asked."
    ),
    components(schemas(OpenAiError, OllamaError, AnthropicError))
)]
pub struct Base;

/// The description as it is sent.
#[derive(Clone)]
pub struct Description(pub Bytes);

/// What routes belong to, by the beginnings of their paths; the first counts.
const TAGS: [(&str, &str); 8] = [
    ("/api/", "Ollama"),
    ("/v1/messages", "Anthropic"),
    ("/v1/fim", "Mistral"),
    ("/v1/", "OpenAI"),
    ("/health", "Server"),
    ("/metrics", "Server"),
    ("/openapi.json", "Server"),
    ("/", "llama.cpp"),
];

/// Errors that any request may meet.
const ERRORS: [(&str, &str); 4] = [
    ("401", "No key was sent, or none of this server's."),
    ("403", "`Host` or `Origin` is not one that may ask."),
    ("500", "Something is wrong with the server."),
    ("503", "The model is being loaded, or the server is about to end."),
];

/// Errors that a request with a body may meet besides.
const BODY_ERRORS: [(&str, &str); 5] = [
    ("400", "The request is not what is expected."),
    ("404", "There is no such model."),
    ("408", "The body did not come in time."),
    ("413", "The body is too large."),
    ("429", "Too many requests wait."),
];

impl Form {
    /// The schema of its errors.
    fn schema(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAiError",
            Self::Ollama => "OllamaError",
            Self::Anthropic => "AnthropicError",
        }
    }
}

/// The description of a server: that of its routes, with what is true of all of them. `has_keys`
/// says whether it asks for a key.
pub fn complete(mut description: Value, has_keys: bool) -> Description {
    let tag = |name: &str| json!({"name": name});
    description["tags"] = TAGS.iter().rev().map(|(_, name)| tag(name)).collect();
    let tags = description["tags"].as_array_mut().into_iter();
    tags.for_each(Vec::dedup);
    description["components"]["securitySchemes"]["key"] =
        json!({"type": "http", "scheme": "bearer"});
    if has_keys {
        description["security"] = json!([{"key": []}]);
    }
    for form in [Form::OpenAi, Form::Ollama, Form::Anthropic] {
        let schema = format!("#/components/schemas/{}", form.schema());
        let content = json!({"application/json": {"schema": {"$ref": schema}}});
        for (status, why) in ERRORS.iter().chain(&BODY_ERRORS) {
            description["components"]["responses"][response(form, status)] =
                json!({"description": why, "content": content});
        }
    }
    let paths = description["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        let operations = item.as_object_mut().into_iter().flatten();
        for (method, operation) in operations.filter(|(_, value)| value["responses"].is_object()) {
            describe(method, path, operation);
        }
    }
    Description(description.to_string().into())
}

/// Says of an operation what is true of all at its path.
fn describe(method: &str, path: &str, operation: &mut Value) {
    // Functions in several interfaces have one name; this is the operation's own.
    let words = path
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    let words: Vec<&str> = std::iter::once(method).chain(words).collect();
    operation["operationId"] = json!(words.join("_"));
    if operation["tags"].is_null() {
        let tag = TAGS.iter().find(|(start, _)| path.starts_with(start));
        operation["tags"] = tag.iter().map(|(_, tag)| json!(tag)).collect();
    }
    describe_events(Form::of(path), operation);
    let has_body = !operation["requestBody"].is_null();
    let is_open = !operation["security"].is_null();
    let bodies = BODY_ERRORS.iter().filter(|_| has_body);
    let errors = ERRORS.iter().filter(|(status, _)| !(is_open && *status == "401"));
    for (status, _) in errors.chain(bodies) {
        let responses = &operation["responses"];
        let range = format!("{}XX", &status[..1]);
        if responses[*status].is_null() && responses[range].is_null() {
            let name = response(Form::of(path), status);
            operation["responses"][*status] =
                json!({"$ref": format!("#/components/responses/{name}")});
        }
    }
}

/// Says of answers that come in events what stands in these: what is described stands in the data
/// of each, unless an error does, or the word at the end of some.
fn describe_events(form: Form, operation: &mut Value) {
    const SCHEMA: &str = "/responses/200/content/text~1event-stream/schema";
    let Some(schema) = operation.pointer_mut(SCHEMA) else {
        return;
    };
    let error = json!({"$ref": format!("#/components/schemas/{}", form.schema())});
    let data = json!({
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"anyOf": [schema.take(), error]},
    });
    *schema = json!({
        "type": "object",
        "required": ["data"],
        "properties": {
            "event": {"type": "string"},
            "data": {"anyOf": [{"const": "[DONE]"}, data]},
        },
    });
}

/// What the response of a form and status is called.
fn response(form: Form, status: &str) -> String {
    format!("{}{status}", form.schema())
}
