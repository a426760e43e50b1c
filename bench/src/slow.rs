//! One subscriber that never reads: do the healthy ones notice?
//!
//! Three healthy subscribers receive 1 KiB messages at the pace of the slowest of them. Then a
//! fourth subscribes and never reads again. What the healthy ones receive is counted in spans of
//! half a second before and after. How fast the machine is cancels out; how the server treats
//! the innocent remains.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::figure::{Figure, Spread};
use crate::flow::Flow;
use crate::frame::{SUBJECT, subscribe};
use crate::link;
use crate::scenario::{Plan, Shape, Sharing};
use crate::server::Server;

const SHAPE: Shape = Shape {
    publishers: 1,
    receivers: 3,
    sharing: Sharing::All,
    payload_bytes: 1024,
    headers: false,
};

/// Length of one count of deliveries.
const SPAN: Duration = Duration::from_millis(500);
/// Spans counted before the stalled subscriber joins: enough for a steady mean.
const SPANS_BEFORE: u32 = 6;

/// Run it: the rate of healthy deliveries after, in relation to before.
pub fn run(server: &Server, plan: &Plan) -> Result<Vec<Figure>> {
    let mut flow = Flow::open(server, SHAPE, plan.window_bytes)?;
    span(&mut flow)?;
    let before = spans(&mut flow, SPANS_BEFORE)?;

    let mut stalled = link::connect(server.address())?;
    link::greet(&mut stalled, "")?;
    link::await_pong(&mut stalled)?;
    stalled.write_all(subscribe(SUBJECT, None).as_bytes())?;
    let after = spans(&mut flow, plan.stalled.div_duration_f64(SPAN).ceil() as u32)?;
    // With the stalled one gone, the healthy must be given whatever was published.
    drop(stalled);
    flow.settle()?;

    let mean = |spread: &[f64]| spread.iter().sum::<f64>() / spread.len() as f64;
    let usual = mean(&before);
    let worst = Spread::over(after.clone()).context("no span was counted")?.min;
    let peak_mib = server.memory()?.peak_bytes as f64 / f64::from(1 << 20);
    Ok(vec![
        Figure::gain("healthy rate kept, %", 100.0 * mean(&after) / usual),
        Figure::gain("healthy rate kept in the worst half second, %", 100.0 * worst / usual),
        Figure::remark("healthy deliveries/s before", usual),
        Figure::cost("server peak memory, MiB", peak_mib),
    ])
}

/// Deliveries per second of `count` spans, one after the other.
fn spans(flow: &mut Flow, count: u32) -> Result<Vec<f64>> {
    (0..count).map(|_| span(flow)).collect()
}

/// Deliveries per second to the healthy during one span.
fn span(flow: &mut Flow) -> Result<f64> {
    let (started, before) = (Instant::now(), flow.delivered());
    while started.elapsed() < SPAN {
        flow.turn(u64::MAX)?;
    }
    Ok((flow.delivered() - before) as f64 / started.elapsed().as_secs_f64())
}
