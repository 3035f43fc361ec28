//! Which tokens may come at all.

use super::MaskError;
use std::fmt::Debug;

/// Something that allows some tokens and forbids others, such as a grammar that the text must
/// follow.
pub trait Mask: Debug + Send {
    /// Finds out which tokens may follow `history`, the prompt and all tokens so far. The mask has
    /// been told where in it the constrained text begins.
    ///
    /// The histories asked for may go back and forth, as they do when drafts are checked and
    /// rejected.
    ///
    /// # Errors
    /// When no token can follow, or it cannot be found out; says why.
    fn look(&mut self, history: &[u32]) -> Result<(), MaskError>;

    /// Whether `token` may follow the history that was looked at last.
    fn allows(&self, token: u32) -> bool;
}
