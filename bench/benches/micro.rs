//! The pure parts, one at a time: what does a message or a task cost before any socket or disk?

use std::hint::black_box;
use std::sync::Arc;

use agentcom_broker::commit::Durable;
use agentcom_broker::commit::turn::Voice;
use agentcom_broker::core::Core;
use agentcom_broker::core::command::{
    Action, Attach, Command, Effect, LeaseOp, Name, Now, Patience, Push, Rejection, Reply, Request,
    RequestId, SessionId, Spec, Start, Submit, TaskEvent,
};
use agentcom_broker::core::limits::CoreConfig;
use agentcom_broker::net::{Budget, Outlet, OutletLimits};
use agentcom_broker::routing::{Dispatch, Index, Keyed, Router, Subscription};
use agentcom_broker::store::rocks::RocksStore;
use agentcom_protocol::{
    ClientDecoder, Decoded, Filter, Limits, Message, Publish, ServerDecoder, encode,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Frames in a buffer of this size, as a read of a busy socket delivers them.
const READ_BYTES: usize = 64 * 1024;

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    let payload = [b'x'; 128];
    for bytes in [16, 128] {
        let publish = Publish {
            subject: b"bench.a",
            reply: None,
            header_bytes: None,
            payload: &payload[..bytes],
        };
        let mut buffer = Vec::new();
        let mut frames = 0;
        while buffer.len() < READ_BYTES {
            encode::publish(&mut buffer, &publish);
            frames += 1;
        }
        group.throughput(Throughput::Elements(frames));
        let decoder = ClientDecoder::new(Limits::default());
        group.bench_function(format!("PUB of {bytes} bytes"), |bencher| {
            bencher.iter(|| {
                let mut at = 0;
                while let Ok(Decoded::Frame { frame, consumed }) = decoder.decode(&buffer[at..]) {
                    black_box(frame);
                    at += consumed;
                }
                assert_eq!(at, buffer.len());
            });
        });
    }
    let message =
        Message { subject: b"bench.a", sid: b"1", reply: None, header_bytes: None, payload: b"x" };
    let mut buffer = Vec::new();
    let mut frames = 0;
    while buffer.len() < READ_BYTES {
        encode::message(&mut buffer, &message);
        frames += 1;
    }
    group.throughput(Throughput::Elements(frames));
    let decoder = ServerDecoder::new(Limits::default());
    group.bench_function("MSG of 1 byte", |bencher| {
        bencher.iter(|| {
            let mut at = 0;
            while let Ok(Decoded::Frame { frame, consumed }) = decoder.decode(&buffer[at..]) {
                black_box(frame);
                at += consumed;
            }
            assert_eq!(at, buffer.len());
        });
    });
    group.finish();
}

fn encode_message(criterion: &mut Criterion) {
    let payload = [b'x'; 128];
    let message = Message {
        subject: b"bench.a",
        sid: b"1",
        reply: None,
        header_bytes: None,
        payload: &payload,
    };
    let mut buffer = Vec::with_capacity(READ_BYTES);
    criterion.bench_function("encode MSG of 128 bytes", |bencher| {
        bencher.iter(|| {
            if buffer.len() > READ_BYTES / 2 {
                buffer.clear();
            }
            encode::message(&mut buffer, black_box(&message));
        });
    });
}

/// A value that knows its filter.
#[derive(Clone, PartialEq)]
struct Kept(Arc<str>);

impl Keyed for Kept {
    fn key(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn matching(criterion: &mut Criterion) {
    let mut index = Index::new();
    for number in 0..100_000_u32 {
        let filter = match number % 4 {
            0 => format!("orders.{number}.*"),
            1 => format!("orders.*.item{number}"),
            2 => format!("metrics.{}.>", number / 16),
            _ => format!("orders.{number}.new"),
        };
        let kept = Kept(filter.as_str().into());
        index.insert(Filter::parse(filter.as_bytes()).expect("a filter"), kept);
    }
    let subjects: Vec<String> =
        (0..100_000).step_by(7).map(|number| format!("orders.{number}.new")).collect();
    let mut found = Vec::new();
    let mut next = 0;
    criterion.bench_function("match among 100 k subscriptions, cold", |bencher| {
        bencher.iter(|| {
            found.clear();
            next = (next + 1) % subjects.len();
            index.matching(&subjects[next], &mut found);
            black_box(found.len())
        });
    });
}

/// Route and copy only: the outlets are closed, so that the flush throws the bytes away.
fn fan_out(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime for the sockets");
    let limits =
        Arc::new(OutletLimits { pending_bytes_max: 1 << 23, budget: Budget::new(1 << 30) });
    let mut group = criterion.benchmark_group("fan-out of 128 bytes");
    for receivers in [1_usize, 10, 100] {
        let router = Arc::new(Router::new());
        for index in 0..receivers {
            let outlet = runtime.block_on(closed_outlet(index, &limits));
            let filter = Filter::parse(b"bench.a").expect("a filter");
            router.subscribe(&Arc::new(Subscription::new(outlet, filter, b"1", None)));
        }
        let mut dispatch = Dispatch::new(Arc::clone(&router));
        let payload = [b'x'; 128];
        let publish =
            Publish { subject: b"bench.a", reply: None, header_bytes: None, payload: &payload };
        group.throughput(Throughput::Elements(receivers as u64));
        let mut published = 0;
        group.bench_function(format!("to {receivers}"), |bencher| {
            bencher.iter(|| {
                black_box(dispatch.publish(None, &publish));
                published += 1;
                if published % 400 == 0 {
                    dispatch.flush();
                }
            });
        });
    }
    group.finish();
}

async fn closed_outlet(index: usize, limits: &Arc<OutletLimits>) -> Arc<Outlet> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let (client, server) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
    drop(client.expect("the client's end"));
    let (_, write) = server.expect("the server's end").0.into_split();
    let outlet =
        Arc::new(Outlet::new(index, index as u64 + 1, write, Arc::clone(limits), Arc::default()));
    outlet.close();
    outlet
}

fn submit(needs: &[Name]) -> Command {
    let patience = Patience {
        lease_ms: 30_000,
        attempt_ms: 3_600_000,
        progress_ms: None,
        queue_ms: None,
        total_ms: None,
    };
    let spec = Spec {
        rates: Arc::default(),
        placement: None,
        has_headers: false,
        queue: Name::parse("bench").expect("a name"),
        key: None,
        needs: needs.into(),
        labels: Arc::default(),
        limits: Arc::default(),
        band: 2,
        attempts_max: 3,
        patience,
    };
    Command::Submit(Box::new(Submit {
        spec: Arc::new(spec),
        payload: Arc::from([b'x'; 128]),
        headers: None,
        start: Start::Now,
        dedup: None,
        after: Vec::new(),
    }))
}

/// A task's whole life in the core alone: no store, no thread, no socket.
fn core_apply(criterion: &mut Criterion) {
    let now = Now::default();
    let mut core = Core::restore(CoreConfig::default(), now, |_| Ok::<(), ()>(()))
        .expect("nothing to restore");
    let mut id = 0;
    let mut apply = |core: &mut Core, command| {
        id += 1;
        core.handle(Request { id: RequestId(id), command }, Vec::new(), now);
        let mut task = None;
        while let Some(effect) = core.poll_effect() {
            if let Effect::Deliver { push: Push::Offer(offer), .. } = black_box(effect) {
                task = Some((offer.task, offer.generation));
            }
        }
        task
    };
    let name = |text| Name::parse(text).expect("a name");
    let session = SessionId(1);
    let attach = Attach {
        session,
        agent: name("alice"),
        identity: "bench".into(),
        capabilities: vec![name("gpu")],
        labels: Vec::new(),
        capacity: Vec::new(),
        queues: Vec::new(),
        credit: 1,
        holding: Vec::new(),
    };
    apply(&mut core, Command::Attach(attach));
    let submit = submit(&[name("gpu")]);
    let result: Arc<[u8]> = Arc::from(*b"done");
    criterion.bench_function("core: submit, grant, complete", |bencher| {
        bencher.iter(|| {
            let offer = apply(&mut core, submit.clone());
            let (task, generation) = offer.expect("the agent is idle");
            let action = Action::Complete { result: result.clone() };
            apply(&mut core, Command::Lease(LeaseOp { session, task, generation, action }));
        });
    });
}

/// Hears everything and says nothing.
struct Silence(std::sync::mpsc::Sender<RequestId>);

impl Voice for Silence {
    fn reply(&mut self, request: RequestId, _: Result<Reply, Rejection>) {
        let _ = self.0.send(request);
    }
    fn deliver(&mut self, _: SessionId, _: Push) {}
    fn event(&mut self, _: TaskEvent) {}
    fn flush(&mut self) {}
}

/// Submit to answer, through the commit thread and an fsync of a real store.
fn commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(10);
    for in_flight in [1_u64, 64, 256] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = RocksStore::open(folder.path()).expect("a store");
        let (answers, answered) = std::sync::mpsc::channel();
        let durable = Durable::start(CoreConfig::default(), store, Silence(answers))
            .expect("an empty store restores");
        let submit = submit(&[]);
        let mut id = 0;
        group.throughput(Throughput::Elements(in_flight));
        group.bench_function(format!("{in_flight} submits in flight"), |bencher| {
            bencher.iter(|| {
                for _ in 0..in_flight {
                    id += 1;
                    let request = Request { id: RequestId(id), command: submit.clone() };
                    durable.send(request).expect("room");
                }
                for _ in 0..in_flight {
                    answered.recv().expect("an answer");
                }
            });
        });
        durable.stop();
    }
    group.finish();
}

criterion_group!(benches, decode, encode_message, matching, fan_out, core_apply, commit);
criterion_main!(benches);
