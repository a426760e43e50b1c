//! Any frame that can be decoded comes out the same after it was encoded and decoded again.
#![no_main]

use agentcom_protocol::{
    Body, ClientDecoder, ClientFrame, Decoded, HeaderMap, Limits, Request, ServerDecoder,
    ServerFrame, encode,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let client = ClientDecoder::new(Limits::default());
    if let Ok(Decoded::Frame { frame, .. }) = client.decode(input) {
        if let Some(bytes) = client_bytes(&frame) {
            let consumed = bytes.len();
            assert_eq!(client.decode(&bytes), Ok(Decoded::Frame { frame, consumed }));
        }
    }
    let server = ServerDecoder::new(Limits::default());
    if let Ok(Decoded::Frame { frame, .. }) = server.decode(input) {
        if let Some(bytes) = server_bytes(&frame) {
            let consumed = bytes.len();
            assert_eq!(server.decode(&bytes), Ok(Decoded::Frame { frame, consumed }));
        }
    }
    if let Ok(map) = HeaderMap::parse(input) {
        let mut block = Vec::new();
        map.encode(&mut block);
        assert_eq!(HeaderMap::parse(&block), Ok(map));
    }
});

/// `None` for frames that nobody of us sends.
fn client_bytes(frame: &ClientFrame<'_>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match frame {
        ClientFrame::Connect(json) => encode::connect(&mut bytes, json),
        ClientFrame::Publish(publish) => encode::publish(&mut bytes, publish),
        ClientFrame::Subscribe { filter, queue, sid } => {
            encode::subscribe(&mut bytes, filter, *queue, sid);
        }
        ClientFrame::Unsubscribe { sid, max } => encode::unsubscribe(&mut bytes, sid, *max),
        ClientFrame::Ping => bytes.extend_from_slice(encode::fixed::PING),
        ClientFrame::Pong => bytes.extend_from_slice(encode::fixed::PONG),
        ClientFrame::Request(Request { verb, tag, arguments, options, body }) => {
            let name = verb.name();
            let options: Vec<String> = pairs(options);
            let mut words = vec![name.as_str(), tag];
            words.extend(arguments);
            words.extend(options.iter().map(String::as_str));
            encode::words(&mut bytes, &words, (verb.body() == Body::Sized).then_some(body));
        }
        _ => return None,
    }
    // What was just inside the limit with a size of one digit may be outside with two.
    (bytes.len() < Limits::default().control_line_bytes_max).then_some(bytes)
}

/// `None` for frames whose text another encoder made and ours would change.
fn server_bytes(frame: &ServerFrame<'_>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match frame {
        ServerFrame::Info(json) => encode::info(&mut bytes, json),
        ServerFrame::Message(message) => encode::message(&mut bytes, message),
        ServerFrame::Ping => bytes.extend_from_slice(encode::fixed::PING),
        ServerFrame::Pong => bytes.extend_from_slice(encode::fixed::PONG),
        ServerFrame::Ok => bytes.extend_from_slice(encode::fixed::OK),
        ServerFrame::Error(text) => encode::error(&mut bytes, text),
        ServerFrame::Granted { tag, fields, body } => {
            let fields = pairs(fields);
            let mut words = vec!["OK", tag];
            words.extend(fields.iter().map(String::as_str));
            encode::words(&mut bytes, &words, (!body.is_empty()).then_some(body));
        }
        ServerFrame::Declined { tag, code, sentence } => {
            if sentence.chars().any(char::is_control) {
                return None;
            }
            encode::declined(&mut bytes, tag, code, sentence);
        }
        ServerFrame::Item { tag, task, generation, fields, body } => {
            let numbers = [task.to_string(), generation.to_string()];
            sized(&mut bytes, &["ITEM", tag, &numbers[0], &numbers[1]], fields, body);
        }
        ServerFrame::Offer { task, generation, fields, body } => {
            let numbers = [task.to_string(), generation.to_string()];
            sized(&mut bytes, &["OFFER", &numbers[0], &numbers[1]], fields, body);
        }
        ServerFrame::Cancel { task, generation, fields, body } => {
            let numbers = [task.to_string(), generation.to_string()];
            sized(&mut bytes, &["CANCEL", &numbers[0], &numbers[1]], fields, body);
        }
        ServerFrame::Answered { task, generation, fields, body } => {
            let numbers = [task.to_string(), generation.to_string()];
            sized(&mut bytes, &["ANSWERED", &numbers[0], &numbers[1]], fields, body);
        }
        ServerFrame::Event { task, fields, body } => {
            sized(&mut bytes, &["EVENT", &task.to_string()], fields, body);
        }
        ServerFrame::Revoked { task, generation, fields } => {
            let (task, generation, fields) =
                (task.to_string(), generation.to_string(), pairs(fields));
            let mut words = vec!["REVOKED", &task, &generation];
            words.extend(fields.iter().map(String::as_str));
            encode::words(&mut bytes, &words, None);
        }
        ServerFrame::Replaced => bytes.extend_from_slice(encode::fixed::REPLACED),
    }
    Some(bytes)
}

fn sized(bytes: &mut Vec<u8>, front: &[&str], fields: &[(&str, &str)], body: &[u8]) {
    let fields = pairs(fields);
    let words: Vec<&str> = front.iter().copied().chain(fields.iter().map(String::as_str)).collect();
    encode::words(bytes, &words, Some(body));
}

fn pairs(fields: &[(&str, &str)]) -> Vec<String> {
    fields.iter().map(|(key, value)| format!("{key}={value}")).collect()
}
