//! `agentcom ping`: measure the round trip to the broker.

use std::time::{Duration, Instant};

use serde_json::json;

use super::output::Output;
use super::{Common, Outcome, duration};

/// Arguments of `ping`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many round trips
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// The pause between them
    #[arg(long, default_value = "1s", value_parser = duration::parse)]
    interval: Duration,
}

/// Each round trip is a PING of the protocol; the first one comes after the handshake.
pub(crate) async fn run(arguments: Arguments, common: &Common, output: &Output) -> Outcome {
    let Arguments { count, interval } = arguments;
    let client = common.connect().await?;
    let mut trips = Vec::new();
    for number in 1..=count {
        if number > 1 {
            tokio::time::sleep(interval).await;
        }
        let began = Instant::now();
        client.flush().await?;
        let trip = began.elapsed();
        trips.push(trip);
        let text = format!("{}: {number} in {trip:.1?}", common.server);
        output.result(&text, &json!({"ping": number, "rtt_us": micros(trip)}))?;
    }
    let (min, max) = (trips.iter().min(), trips.iter().max());
    if let (Some(&min), Some(&max)) = (min, max) {
        let mean = trips.iter().sum::<Duration>() / count;
        let text = format!("min {min:.1?}, mean {mean:.1?}, max {max:.1?}");
        let json = json!({
            "count": count,
            "rtt_min_us": micros(min),
            "rtt_mean_us": micros(mean),
            "rtt_max_us": micros(max),
        });
        output.result(&output.title(&text), &json)?;
    }
    Ok(())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
