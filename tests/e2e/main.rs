//! End-to-end tests: a real broker process, real sockets, one broker a test, all on free ports.

mod abuse;
mod alerts;
mod backup;
mod client;
mod command_line;
mod crash;
mod descriptors;
mod disk;
mod doctor;
mod figures;
mod http;
mod import;
mod lifecycle;
mod log;
mod messages;
mod monitor;
mod push;
mod quotas;
mod rates;
mod restore;
mod salvage;
mod settings;
mod talk;
mod tasks;
mod trace;
mod wire;
