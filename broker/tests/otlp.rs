//! A broker that was built with OTLP tells a collector of tasks that belong to a trace.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Far more than anything here takes; only a failure waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

struct Broker(Child);

impl Broker {
    fn start(folder: &Path, collector: &str) -> Broker {
        let child = Command::new(env!("CARGO_BIN_EXE_agentcom"))
            .args(["serve", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .arg("--ports-file")
            .arg(folder.join("ports"))
            .env("AGENTCOM_TRACES_OTLP_ENDPOINT", collector)
            .stdout(Stdio::null())
            .spawn();
        Broker(child.expect("the program starts"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where it listens, once it does.
async fn address(folder: &Path) -> String {
    loop {
        if let Ok(text) = fs::read_to_string(folder.join("ports"))
            && let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text)
        {
            return ports["tcp"].as_str().expect("an address").to_owned();
        }
        tokio::task::yield_now().await;
    }
}

/// Take one request that begins with `POST /v1/traces`, and give its bytes.
async fn collect(listener: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut request = Vec::new();
    loop {
        stream.read_buf(&mut request).await.expect("a request");
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let (_, length) = head.split_once("content-length: ").expect("a length");
        let length: usize = length.lines().next().and_then(|digits| digits.parse().ok()).unwrap();
        if request.len() >= head.len() + 4 + length {
            break;
        }
    }
    assert!(request.starts_with(b"POST /v1/traces "));
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("answered");
    request
}

#[tokio::test]
async fn a_task_of_a_trace_is_told_to_the_collector() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector = format!("http://{}", listener.local_addr().unwrap());
    let _broker = Broker::start(folder.path(), &collector);
    let address = timeout(DEADLINE, address(folder.path())).await.expect("it listens");
    let client = agentcom_client::connect(address).await.expect("connected");
    let jobs = client.queue("jobs");
    // What belongs to no trace is not told.
    jobs.enqueue("x").await.expect("kept");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    jobs.enqueue("y").header("traceparent", parent).await.expect("kept");
    for _ in 0..2 {
        let lease = jobs.lease(DEADLINE).await.expect("asked").expect("an entry");
        lease.ack().await.expect("acknowledged");
    }
    let told = timeout(DEADLINE, collect(&listener)).await.expect("it is told");
    let count = |part: &[u8]| told.windows(part.len()).filter(|found| *found == part).count();
    assert_eq!((count(b"task jobs"), count(b"attempt jobs")), (1, 1));
    let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
    let parent = 0xb7ad_6b71_6920_3331_u64.to_be_bytes();
    assert_eq!((count(&trace), count(&parent)), (2, 1));
}
