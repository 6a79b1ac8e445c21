//! Tests of the whole crate, by what they are about.

mod disk;
mod export;
mod golden;
mod history;
mod model;
mod network;
mod rules;
mod world;
