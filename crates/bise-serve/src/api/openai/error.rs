//! Errors as clients of OpenAI's interface read them, for the description of the interface.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

/// `{"error": {"message", "type", "param", "code"}}`, which
/// [`Form::error`](crate::http::form::Form::error) writes.
pub enum ErrorBody {}

impl PartialSchema for ErrorBody {
    fn schema() -> RefOr<Schema> {
        let text = |about: &str| {
            let text = ObjectBuilder::new().schema_type(Type::String);
            text.description(Some(about.to_owned()))
        };
        let maybe = |about: &str| {
            text(about).schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        };
        let error = ObjectBuilder::new()
            .property(
                "message",
                text("What was found, what was expected, and the way out."),
            )
            .required("message")
            .property("type", text("The kind of error: `invalid_request_error`."))
            .required("type")
            .property("param", maybe("Where in the request: `messages[2].content`."))
            .required("param")
            .property("code", maybe("More precisely: `model_not_found`."))
            .required("code");
        ObjectBuilder::new()
            .property("error", error)
            .required("error")
            .into()
    }
}

impl ToSchema for ErrorBody {
    fn name() -> std::borrow::Cow<'static, str> {
        "openai.Error".into()
    }
}
