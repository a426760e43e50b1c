//! The command line of a client: one command per file, each a thin use of `agentcom_client`.
//!
//! Exit codes: 0 the operation succeeded, 1 it failed (a sentence on stderr says what to do next),
//! 2 the command line was wrong. `serve` lives elsewhere: nothing here knows the broker's inside.

mod backup;
mod body;
mod config;
mod connect;
mod dead;
mod doctor;
mod duration;
mod import;
mod output;
mod ping;
mod progress;
mod publish;
mod queue;
mod reply;
mod request;
mod settings;
mod shell;
mod store;
mod submission;
mod subscribe;
mod table;
mod task;
mod time;
mod view;
mod worker;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use agentcom_broker::config::ServeArgs;
pub(crate) use connect::Common;
use output::Output;

// What a client can do from the command line. Not a doc comment: clap would print it in place of
// the program's own description.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Publish a message
    Pub(publish::Arguments),
    /// Print the messages of a subject
    Sub(subscribe::Arguments),
    /// Send a request and print the answer
    Req(request::Arguments),
    /// Answer requests
    Reply(reply::Arguments),
    /// Durable queues: put, take, and look after them
    #[command(subcommand)]
    Queue(queue::Command),
    /// Durable tasks: submit, follow, and call off
    #[command(subcommand)]
    Task(task::Command),
    /// Tasks that were given up: look at them, give them another life, or forget them
    #[command(subcommand)]
    Dead(dead::Command),
    /// Work on durable tasks with a command
    Worker(worker::Arguments),
    /// Copies of everything that a broker keeps
    #[command(subcommand)]
    Backup(backup::Command),
    /// The tables that everything is kept in
    #[command(subcommand)]
    Store(store::Command),
    /// The settings that all share, and what the broker goes by: limits, quotas, alerts
    #[command(subcommand)]
    Config(config::Command),
    /// Look for what is in the way of a broker, running or not, and say what to do; nothing changes
    Doctor(Box<ServeArgs>),
    /// Bring what another hub has
    #[command(subcommand)]
    Import(import::Command),
    /// Measure the round trip to the broker
    Ping(ping::Arguments),
}

/// An operation that failed, for any reason: only the sentence counts here.
pub(crate) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Run a command to its end.
pub(crate) async fn run(command: Command, common: Common) -> ExitCode {
    let output = Output::new(common.format());
    let outcome = match command {
        Command::Pub(arguments) => publish::run(arguments, &common, &output).await,
        Command::Sub(arguments) => subscribe::run(arguments, &common, &output).await,
        Command::Req(arguments) => request::run(arguments, &common, &output).await,
        Command::Reply(arguments) => reply::run(arguments, &common, &output).await,
        Command::Queue(command) => queue::run(command, &common, &output).await,
        Command::Dead(command) => dead::run(command, &common, &output).await,
        Command::Task(command) => task::run(command, &common, &output).await,
        Command::Worker(arguments) => worker::run(arguments, &common, &output).await,
        Command::Backup(command) => backup::run(command, &common, &output).await,
        Command::Store(command) => store::run(command, &common, &output).await,
        Command::Config(command) => config::run(command, &common, &output).await,
        Command::Doctor(arguments) => doctor::run(&arguments, &output),
        Command::Import(command) => import::run(command, &common, &output).await,
        Command::Ping(arguments) => ping::run(arguments, &common, &output).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough, as in `agentcom sub '>' | head`.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// A sentence on stderr.
fn complain(sentence: &str) {
    // If even stderr is gone, the exit code has to do.
    let _ = writeln!(io::stderr().lock(), "agentcom: {sentence}");
}

/// An error and its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "agentcom")]
    struct Line {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        command: Command,
    }

    fn check(line: &str, is_right: bool) {
        let words = ["agentcom"].into_iter().chain(line.split(' '));
        let parsed = Line::try_parse_from(words);
        assert_eq!(parsed.is_ok(), is_right, "{line}: {parsed:?}");
    }

    #[test]
    fn the_definitions_are_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn common_options_may_stand_on_either_side_of_the_command() {
        check("--server h:1 pub a b", true);
        check("pub a b --server h:1 -o json", true);
        check("task submit q body --needs a,b --lease 60s --server h", true);
        check("queue ls --json", true);
        check("dead purge --queue q --dry-run", true);
        check("dead redrive --all", true);
        check("task ls --state running --queue q", true);
        check("backup restore latest --data-dir d --dir b", true);
        check("store compact task_queue --json", true);
    }

    #[test]
    fn a_wrong_line_is_refused_before_anything_is_sent() {
        check("pub", false);
        check("pub a b -H no-colon", false);
        check("req a --timeout soon", false);
        check("task show seventeen", false);
        check("task submit q --attempts 0", false);
        check("task submit q --after seventeen", false);
        check("task submit q --after 17:perhaps", false);
        check("task submit q --dedup-mode reject", false);
        check("queue take q --max 101", false);
        check("dead purge", false);
        check("dead purge 17 --all", false);
        check("task ls --state asleep", false);
        check("queue ls --json -o text", false);
        check("worker a", false);
        check("worker a --exec true --credit 0", false);
        check("sub a -o yaml", false);
        check("backup verify", false);
    }
}
