//! `agentcom worker`: work on durable tasks with a command.

use std::time::{Duration, Instant};

use agentcom_client::{Client, Job, JobError};
use serde_json::json;

use super::output::Output;
use super::shell::{Ran, Shell};
use super::submission::pair;
use super::{Common, Outcome, complain, duration};

/// Arguments of `worker`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The agent's name; only one session at a time works under it
    agent: String,
    /// Capabilities that it has
    #[arg(long, value_delimiter = ',')]
    can: Vec<String>,
    /// Labels and their values, such as os:linux
    #[arg(long, value_delimiter = ',', value_parser = label)]
    labels: Vec<(String, String)>,
    /// How much it has of what tasks use, such as gpu:2
    #[arg(long, value_delimiter = ',', value_name = "NAME:AMOUNT", value_parser = pair)]
    capacity: Vec<(String, u32)>,
    /// A queue to work on; may be given several times; all queues if absent
    #[arg(long = "queue", value_name = "QUEUE")]
    queues: Vec<String>,
    /// How many tasks to work on at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,
    /// How long running tasks may take to finish after Ctrl-C; then they are handed back
    #[arg(long, default_value = "30s", value_parser = duration::parse)]
    drain: Duration,
    /// Run this in a shell for each task: the body is its stdin, headers are in $AGENTCOM_HEADERS, and its stdout the result. Exit
    /// code 75 (or a signal) asks for another attempt, any other but 0 fails the task for good, with
    /// stderr as the error. A task that is called off has its command killed
    #[arg(long, value_name = "COMMAND")]
    exec: String,
}

/// The exit code that says that another attempt may help: `EX_TEMPFAIL` of sysexits(3).
const CODE_RETRY: i32 = 75;

/// Work until Ctrl-C or a termination signal; then finish what runs.
pub(crate) async fn run(arguments: Arguments, common: &Common, output: &Output) -> Outcome {
    let Arguments { agent, can, labels, capacity, queues, concurrency, drain, exec } = arguments;
    let client = common.connect_for_long().await?;
    let worker = client
        .worker(agent)
        .can(can)
        .labels(labels)
        .capacity(capacity)
        .queues(queues)
        .concurrency(concurrency.into())
        .drain_timeout(drain)
        .start()
        .await?;
    let interrupted = interrupted()?;
    let (shell, output) = (Shell::new(exec), *output);
    worker
        .run_until(interrupted, move |job| work(client.clone(), shell.clone(), output, job))
        .await?;
    Ok(())
}

async fn work(client: Client, shell: Shell, output: Output, job: Job) -> Result<Vec<u8>, JobError> {
    let began = Instant::now();
    let environment = [
        ("AGENTCOM_TASK", job.task().to_string()),
        ("AGENTCOM_QUEUE", job.queue().to_owned()),
        ("AGENTCOM_ATTEMPT", job.attempt().to_string()),
        ("AGENTCOM_HEADERS", json!(job.headers()).to_string()),
    ];
    let ran = shell.run(job.payload().clone(), &environment, job.cancelled()).await?;
    let Some(ran) = ran else {
        let task = job.task();
        let what = if job.is_revoked() { "taken away" } else { "called off" };
        complain(&format!("task {task} was {what}; its command was killed"));
        return Err(JobError::retry("its command was killed"));
    };
    let answer = judge(ran, client.max_payload());
    let state = if answer.is_ok() { "completed" } else { "failed" };
    let elapsed_ms = began.elapsed().as_millis();
    let task = job.task();
    let text = format!("task {task} {state} in {elapsed_ms} ms");
    let json = json!({
        "task": task.0,
        "attempt": job.attempt(),
        "outcome": state,
        "elapsed_ms": u64::try_from(elapsed_ms).unwrap_or(u64::MAX),
    });
    if let Err(error) = output.result(&text, &json) {
        complain(&format!("cannot print: {error}"));
    }
    answer
}

/// What a command's end means for its task.
fn judge(ran: Ran, payload_bytes_max: usize) -> Result<Vec<u8>, JobError> {
    match ran.code {
        Some(0) if ran.stdout.len() > payload_bytes_max => Err(JobError::fatal(format!(
            "the result has {} bytes, and {payload_bytes_max} are allowed",
            ran.stdout.len()
        ))),
        Some(0) => Ok(ran.stdout),
        Some(CODE_RETRY) | None => Err(JobError::retry(ran.reason())),
        Some(_) => Err(JobError::fatal(ran.reason())),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once(':').filter(|(label, value)| !label.is_empty() && !value.is_empty());
    let (label, value) = pair.ok_or_else(|| format!("{text:?} is no label:value"))?;
    Ok((label.to_owned(), value.to_owned()))
}

/// Ready at the first Ctrl-C or termination signal.
fn interrupted() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        complain("taking no new tasks; waiting for those that run");
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: Option<i32>, expected: &str) {
        let ran = Ran { code, stdout: b"out".to_vec(), stderr: b"err\n".to_vec() };
        assert_eq!(format!("{:?}", judge(ran, 3)), expected);
    }

    #[test]
    fn the_exit_code_decides() {
        check(Some(0), "Ok([111, 117, 116])");
        check(Some(1), "Err(JobError(fatal: err))");
        check(Some(CODE_RETRY), "Err(JobError(retry: err))");
        check(None, "Err(JobError(retry: err))");
    }

    #[test]
    fn a_result_that_cannot_be_sent_is_fatal() {
        let ran = Ran { code: Some(0), stdout: b"long".to_vec(), stderr: Vec::new() };
        let judged = format!("{:?}", judge(ran, 3));
        assert_eq!(judged, "Err(JobError(fatal: the result has 4 bytes, and 3 are allowed))");
    }
}
