//! The durable plane beside its peers: tasks that are acknowledged when they are on the disk.
//!
//! ```text
//!  catalogue      the rows of the table: what, against whom, and how much is wanted (goal)
//!     |
//!     +--> steady, backlog, churn, chore  carry out one row against one server
//!     |        |
//!     |        +--> crew                connections that keep tasks on their way
//!     |               |
//!     |               +--> dialect      submit, take, complete, as each server spells them:
//!     |                                 agentcom, jetstream, redis, beanstalkd
//!     +--> peer       which server, and what it promises about the disk
//!     +--> disk, flushes                what a flush takes, and how many there were
//! ```

pub mod catalogue;
pub mod goal;
pub mod peer;

pub mod backlog;
pub mod chore;
pub mod churn;
pub mod steady;

pub mod body;
pub mod crew;
pub mod dialect;

pub mod agentcom;
pub mod beanstalkd;
pub mod jetstream;
pub mod redis;

pub mod disk;
pub mod flushes;
