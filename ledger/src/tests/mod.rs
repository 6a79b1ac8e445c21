//! Tests of the whole crate, by what they are about.

mod attacks;
mod audits;
mod claims;
mod deeds;
mod disk;
mod economy;
mod exit;
mod export;
mod finality;
mod golden;
mod grants;
mod history;
mod kill;
mod lifetime;
mod migration;
mod model;
mod network;
mod notes;
mod orders;
mod rules;
mod service;
mod witness;
mod world;
