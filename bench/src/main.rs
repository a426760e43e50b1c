//! Arguments to a run, and nothing else.

use std::net::SocketAddr;
use std::process::ExitCode;

use agentcom_bench::compare::{self, CompareArgs};
use agentcom_bench::framings::{self, FramingsArgs};
use agentcom_bench::legacy::{self, LegacyArgs};
use agentcom_bench::yardstick;
use clap::{Parser, Subcommand};

/// Measure message brokers that speak the NATS text protocol, side by side.
#[derive(Parser)]
#[command(name = "agentcom-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the same scenarios against several servers in interleaved rounds.
    Compare(Box<CompareArgs>),
    /// Run the same flows against our broker in both of its framings.
    Framings(FramingsArgs),
    /// Load the doors of the AgentCom v2 hub: messages and tasks over WebSockets.
    Legacy(LegacyArgs),
    /// Serve as the yardstick: routes by exact subject, with none of a broker's duties.
    Yardstick {
        /// Address to listen on.
        #[arg(long, default_value = "127.0.0.1:4223")]
        listen: SocketAddr,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Compare(args) => compare::run(&args),
        Command::Framings(args) => framings::run(&args),
        Command::Legacy(args) => legacy::run(&args),
        Command::Yardstick { listen } => yardstick::serve(listen).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("agentcom-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
