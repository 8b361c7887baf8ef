//! A Kafka pipeline whose rules are WebAssembly plugins. The README has the picture; each module
//! says in its first line what it owns and what it never does.

pub mod admin;
pub mod authoring;
pub mod bench;
pub mod chain;
pub mod cli;
pub mod config;
pub mod demo;
pub mod event;
pub mod kafka;
pub mod offline;
pub mod pipeline;
pub mod plugin;
pub mod reload;
pub mod shadow;
pub mod window;
pub mod worker;
