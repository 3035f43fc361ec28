//! How requests are scheduled.

/// How requests are scheduled.
#[derive(Clone, Copy, Debug)]
pub struct SchedulerOptions {
    /// Answers that are written at a time at most.
    pub sequences: usize,
    /// Requests that may wait.
    pub queue: usize,
    /// Tokens of a text at most, prompt and answer together.
    pub context: usize,
}
