//! How much a model is asked to think.

use super::{ChatError, Conversation, Jinja, Message, Version};
use crate::tokenizer::Reasoning;

/// What requests may ask for, the least first.
const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// Refuses what is no effort at all.
pub(super) fn check(asked: &str) -> Result<(), ChatError> {
    match EFFORTS.contains(&asked) {
        true => Ok(()),
        false => Err(effort_fault(
            asked,
            &format!("expected one of {}", EFFORTS.join(", ")),
        )),
    }
}

/// The effort that the format writes down: what is asked for, or what the tokenizer's file has for
/// the model's usual one.
pub(super) fn effort<'a>(
    version: Version,
    reasoning: Option<&'a Reasoning>,
    asked: Option<&'a str>,
) -> Result<Option<&'a str>, ChatError> {
    if let Some(asked) = asked {
        check(asked)?;
    }
    match (version >= Version::V15, asked, reasoning) {
        (false, None, _) => Ok(None),
        (false, Some(asked), _) => {
            let known = "only format v15 has settings";
            Err(effort_fault(
                asked,
                &format!("format {version} cannot say it; {known}"),
            ))
        }
        (true, Some(asked), Some(known)) if !known.efforts.iter().any(|effort| effort == asked) => {
            let efforts = known.efforts.join(", ");
            Err(effort_fault(asked, &format!("this model knows {efforts}")))
        }
        (true, Some(asked), _) => Ok(Some(asked)),
        (true, None, known) => Ok(known.and_then(|known| known.usual.as_deref())),
    }
}

pub(super) fn effort_fault(asked: &str, what: &str) -> ChatError {
    ChatError::Effort {
        asked: asked.to_owned(),
        what: what.to_owned(),
    }
}

/// Refuses what a Jinja template would pass over.
pub(super) fn check_template(jinja: &Jinja, conversation: &Conversation) -> Result<(), ChatError> {
    if conversation.messages().last().is_some_and(Message::is_prefix) {
        return Err(ChatError::Message {
            number: conversation.messages().len(),
            role: "assistant",
            what: "a Jinja template cannot leave an answer open (prefix); Mistral's formats can"
                .to_owned(),
        });
    }
    let Some(asked) = conversation.reasoning_effort() else {
        return Ok(());
    };
    check(asked)?;
    match jinja
        .chosen(!conversation.tools().is_empty())?
        .1
        .contains("reasoning_effort")
    {
        true => Ok(()),
        false => Err(effort_fault(asked, "the chat template has no word for it")),
    }
}
