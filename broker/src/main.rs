//! The `agentcom` command: arguments to a configuration to a run to an exit code.
//!
//! Exit codes of `serve`: 0 after a clean stop, 1 if the broker had to stop or could not start, 2
//! if the arguments or the configuration are wrong.

mod cli;

use std::io::{self, Write};
use std::process::ExitCode;

use agentcom_broker::config::{Config, ServeArgs, environment};
use agentcom_broker::{logging, server};
use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

/// Buffers come and go on every core at once; it is faster at that than the system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A message broker for software agents, and a client for it.
#[derive(Parser)]
#[command(name = "agentcom", version, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    common: cli::Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the broker until it is told to stop.
    Serve(ServeArgs),
    #[command(flatten)]
    Client(cli::Command),
}

fn main() -> ExitCode {
    let Arguments { common, command } = Arguments::parse();
    match command {
        Command::Serve(args) => serve(&args),
        Command::Client(command) => client(command, common),
    }
}

fn serve(args: &ServeArgs) -> ExitCode {
    let loaded = match Config::load(args, environment()) {
        Ok(loaded) => loaded,
        Err(error) => return complain(&error, 2),
    };
    if args.print_config {
        // Whoever asked and then hung up does not want to hear about it.
        let _ = io::stdout().lock().write_all(loaded.to_toml().as_bytes());
        return ExitCode::SUCCESS;
    }
    let log = match logging::start(args.log, &args.log_level) {
        Ok(log) => log,
        Err(error) => return complain(&error, 2),
    };
    // A broken invariant of our own: stop, and recover from the store. A thread that went on
    // without its neighbour would only hide it.
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        std::process::abort();
    }));
    match server::run(&loaded.config, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, 1),
    }
}

fn client(command: cli::Command, common: cli::Common) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli::run(command, common)),
        Err(error) => complain(&error, 1),
    }
}

/// Say what went wrong, cause by cause, and leave with `code`.
fn complain(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence.push_str(&format!(": {error}"));
        cause = error.source();
    }
    for line in sentence.lines() {
        eprintln!("agentcom: {line}");
    }
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
