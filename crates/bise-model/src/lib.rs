//! Mistral and Mixtral.
