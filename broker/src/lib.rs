//! The AgentCom broker. In reading order:
//!
//! - [`core`]: the durable state machine; `core/command.rs` is the one file to read first
//! - [`store`], [`commit`]: its records on disk, and the thread that owns both; [`reads`]: lists,
//!   read beside it
//! - [`routing`]: subjects, queue groups, fan-out; stores nothing
//! - [`session`]: one client's conversation; [`translate`]: the doors' common dictionary
//! - [`durable`]: the doors' end of the durable plane
//! - [`net`], [`http`]: the shells that move bytes
//! - [`lookout`], [`rounds`], [`push`]: what goes on, and who is told
//! - [`upkeep`]: backups and compaction, beside the core
//! - [`testing`]: a broker for other programs' tests
//! - [`token`], [`operator`]: who may come in
//! - [`config`], [`server`]: what is set, and how everything is started and stopped

pub mod banner;
pub mod board;
pub mod commit;
pub mod config;
pub mod core;
pub mod doctor;
pub mod durable;
pub mod errand;
pub mod http;
pub mod keyring;
pub mod logging;
pub mod lookout;
pub mod metrics;
pub mod monitor;
pub mod net;
pub mod operator;
pub mod ports_file;
pub mod private_file;
pub mod push;
pub mod quota;
pub mod reads;
pub mod rounds;
pub mod routing;
pub mod server;
pub mod session;
pub mod settings;
pub mod store;
pub mod tally;
pub mod telemetry;
pub mod testing;
pub mod token;
pub mod traces;
pub mod translate;
pub mod upkeep;
