//! The embedded broker, the generator and the view. The rest of the host does without it.

pub mod generate;
