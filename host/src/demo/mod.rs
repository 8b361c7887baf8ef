//! The embedded broker, the generator and the view. The rest of the host does without it.

pub mod broker;
pub mod client;
pub mod follow;
pub mod generate;
pub mod pace;
pub mod send;
pub mod stop;
pub mod view;

#[cfg(test)]
mod tests;
