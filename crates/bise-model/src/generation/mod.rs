//! Text that a model makes: a session over one sequence, drafts, prompts that are kept.

pub(crate) mod session;
pub(crate) mod speculation;
pub(crate) mod stop_texts;
pub(crate) mod token_sampler;
