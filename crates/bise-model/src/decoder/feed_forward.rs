//! The feed-forward layer: one SwiGLU network, or a mixture of them.

use super::moe::{self, SparseMoe};
use super::step::See;
use super::swiglu::{self, SwiGlu};
use crate::config::Config;
use crate::error::LoadError;
use bise_kernels::isa::Level;
use bise_kernels::matmul::Activations;

/// The feed-forward layer of a block.
pub(crate) enum FeedForward {
    /// Mistral.
    Dense(Box<SwiGlu>),
    /// Mixtral.
    SparseMoe(Box<SparseMoe>),
}

/// What the layer works in; an engine has one.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Workspace {
    Dense(swiglu::Workspace),
    SparseMoe(moe::Workspace),
}

impl Workspace {
    /// For `rows` rows, and adapters of up to `rank`.
    pub fn new(level: Level, config: &Config, rows: usize, rank: usize) -> Self {
        match config.experts {
            None => Self::Dense(swiglu::Workspace::new(level, config, rows, rank)),
            Some(mixture) => {
                Self::SparseMoe(moe::Workspace::new(level, config, mixture, rows, rank))
            }
        }
    }
}

impl FeedForward {
    /// `x` is `[n, dim]`, `out` becomes as much.
    ///
    /// # Errors
    /// When an expert cannot be brought into memory.
    ///
    /// # Panics
    /// When the workspace is another model's.
    pub fn forward(
        &self,
        x: &mut Activations,
        ws: &mut Workspace,
        see: See<'_>,
        out: &mut [f32],
    ) -> Result<(), LoadError> {
        match (self, ws) {
            (Self::Dense(network), Workspace::Dense(ws)) => network.forward(0, x, ws, see, out),
            (Self::SparseMoe(mixture), Workspace::SparseMoe(ws)) => {
                mixture.forward(x, ws, see, out)?;
            }
            _ => panic!("a workspace of this model"),
        }
        Ok(())
    }
}
