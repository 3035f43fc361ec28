//! A text that begins as another did, which need not be read again.

use super::error::SessionError;
use super::prompt_cache::PromptCache;
use super::text::Session;
use crate::error::GenerateError;
use std::path::PathBuf;

/// What [`Session::begin`] found.
#[derive(Debug, Default)]
pub struct Begun {
    /// Tokens that were known.
    pub known: usize,
    /// Files of the cache that could not be used, and why; those that are damaged are deleted.
    pub refused: Vec<(PathBuf, SessionError)>,
    /// Why the cache does not keep the prompt. The text is worth more than the cache.
    pub not_kept: Option<SessionError>,
}

impl Session {
    /// Makes the text `tokens` and processes them: only what follows the beginning that is known,
    /// of the text so far or else of a prompt in `cache`, where the prompt is kept then.
    ///
    /// # Errors
    /// When they do not fit the context, or the watch stops it. The text is then what has been
    /// processed of it.
    pub fn begin(
        &mut self,
        tokens: &[u32],
        cache: Option<&PromptCache>,
    ) -> Result<Begun, GenerateError> {
        let mut begun = Begun::default();
        let known = self.keep_common(tokens);
        let cache = cache.filter(|_| known == 0);
        if let Some(cache) = cache {
            begun.refused = cache.restore(self, tokens).refused;
        }
        begun.known = self.read;
        self.append(&tokens[self.len()..]);
        if let Err(error) = self.prefill() {
            let processed = self.context.len();
            if !self.truncate(processed) {
                self.clear();
            }
            return Err(error);
        }
        if let Some(Err(error)) = cache.map(|cache| cache.store(self)) {
            begun.not_kept = Some(error);
        }
        Ok(begun)
    }
}
