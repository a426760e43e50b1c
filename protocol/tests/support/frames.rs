//! Any binary frame to bytes, for tests that decode it again.

use agentcom_protocol::binary::{ClientFrame, Request, ServerFrame, encode};

/// The bytes of a frame; none for what nobody of us sends.
pub(crate) fn encode_client(out: &mut Vec<u8>, frame: &ClientFrame<'_>) {
    match frame {
        ClientFrame::Connect(json) => encode::connect(out, json),
        ClientFrame::Publish(publish) => encode::publish(out, publish),
        &ClientFrame::Subscribe { sid, queue, filter } => {
            encode::subscribe(out, filter, queue, sid)
        }
        &ClientFrame::Unsubscribe { sid, max } => encode::unsubscribe(out, sid, max),
        &ClientFrame::Alias { number, subject } => encode::alias(out, number, subject),
        ClientFrame::Ping => out.extend_from_slice(encode::fixed::PING),
        ClientFrame::Pong => out.extend_from_slice(encode::fixed::PONG),
        ClientFrame::Request(Request { verb, tag, arguments, options, body }) => {
            let options: Vec<String> =
                options.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let words: Vec<&str> =
                arguments.iter().copied().chain(options.iter().map(String::as_str)).collect();
            encode::request(out, *verb, *tag, &words, body);
        }
        ClientFrame::Mistyped { .. } => {}
    }
}

/// The bytes of a frame.
pub(crate) fn encode_server(out: &mut Vec<u8>, frame: &ServerFrame<'_>) {
    match frame {
        ServerFrame::Message(message) => encode::message(out, message),
        ServerFrame::Granted { tag, fields, body } => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let words: Vec<&str> = fields.iter().map(String::as_str).collect();
            encode::granted(out, *tag, &words, body);
        }
        ServerFrame::Declined { tag, code, sentence } => {
            encode::declined(out, *tag, code, sentence);
        }
        ServerFrame::Common(frame) => {
            encode::translated(out, frame).expect("what is common has neither tag nor sid");
        }
    }
}
