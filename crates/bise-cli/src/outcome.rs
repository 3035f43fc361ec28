//! How commands end.

/// How a command that did its work ends.
pub enum Outcome {
    Done,
    /// What was to be checked is not good.
    Bad,
    /// The text was cut off before its grammar let it end.
    CutOff,
    /// By a signal, such as Ctrl-C.
    Interrupted,
}
