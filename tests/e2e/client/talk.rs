//! Messages, channels and shared settings through the client crate.

use agentcom_client::{Recipient, SettingErrorKind, TalkErrorKind};
use futures_util::StreamExt;
use serde_json::json;

use super::{connected, in_time, reconnect};

#[tokio::test]
async fn agents_talk_and_whoever_was_away_reads_it_later() {
    let Some((_broker, client)) = connected().await else { return };
    let (alice, bob) = (client.agent("alice"), client.agent("bob"));
    let asked = alice.send("bob", "are you there?").kind("request").await.expect("sent");
    reconnect(&client).await;
    let mail = in_time(bob.mailbox(0)).await.expect("polled");
    assert_eq!(mail.len(), 1, "{mail:?}");
    let question = &mail[0];
    assert_eq!((&*question.from, question.text()), ("alice", Some("are you there?")));
    assert_eq!((&question.id, &*question.kind), (&asked.id, "request"));
    let answer = bob.send("alice", r#"{"yes":true}"#).reply_to(&question.id);
    answer.await.expect("sent");
    bob.ack(question.seq).await.expect("acknowledged");
    assert_eq!(bob.mailbox(0).await.expect("polled"), []);
    let mail = alice.mailbox(0).await.expect("polled");
    assert_eq!(mail[0].payload, json!({"yes": true}));
    assert_eq!(mail[0].reply_to.as_deref(), Some(&*question.id));
    assert_eq!(alice.mailbox(mail[0].seq).await.expect("polled"), []);
    alice.send(Recipient::Everybody, "hello").await.expect("sent");
    let thread = client.thread(&asked.id).await.expect("looked up");
    assert_eq!(thread.iter().map(|one| &*one.from).collect::<Vec<_>>(), ["alice", "bob"]);
    let of_alice = client.history().from("alice").to("bob").limit(5).await.expect("looked up");
    assert_eq!(of_alice.iter().map(|one| &one.id).collect::<Vec<_>>(), [&asked.id]);
    let of_all = client.history().to(Recipient::Everybody).await.expect("looked up");
    assert_eq!(of_all[0].text(), Some("hello"));
    assert_eq!(client.present_agents().await.expect("looked up"), []);
    for wrong in [alice.send("a b", "x"), alice.send("bob", "x").kind("two words")] {
        let error = wrong.await.expect_err("not sent");
        assert_eq!(error.kind(), TalkErrorKind::Invalid);
    }
    let error = client.agent("operator").send("bob", "x").await.expect_err("not sent");
    assert_eq!(error.kind(), TalkErrorKind::Invalid);
}

#[tokio::test]
async fn a_channel_is_heard_live_in_the_mailbox_and_in_its_history() {
    let Some((_broker, client)) = connected().await else { return };
    let (alice, dev) = (client.agent("alice"), client.channel("dev"));
    let missing = alice.send(Recipient::Channel("dev"), "x").await.expect_err("not sent");
    assert_eq!(missing.kind(), TalkErrorKind::NoChannel);
    dev.create("alice", "Development, and more").await.expect("made");
    let again = dev.create("alice", "").await.expect_err("not made");
    assert_eq!(again.kind(), TalkErrorKind::ChannelExists);
    assert!(dev.subscribe("bob").await.expect("subscribed"));
    assert!(!dev.subscribe("bob").await.expect("subscribed"));
    let mut listener = dev.listen().await.expect("listening");
    client.flush().await.expect("flushed");
    let sent = alice.send(Recipient::Channel("dev"), "hello").await.expect("sent");
    assert_eq!(sent.channel_seq, Some(1));
    let heard = in_time(listener.next()).await.expect("heard");
    assert_eq!((heard.text(), heard.channel.as_deref()), (Some("hello"), Some("dev")));
    let mail = client.agent("bob").mailbox(0).await.expect("polled");
    assert_eq!(mail[0].id, sent.id);
    assert_eq!(dev.history(10).await.expect("read")[0].text(), Some("hello"));
    let view = dev.show().await.expect("shown");
    assert_eq!(
        (&*view.description, &view.subscribers),
        ("Development, and more", &vec!["bob".to_owned()])
    );
    assert!(dev.unsubscribe("bob").await.expect("unsubscribed"));
    let channels = client.channels().await.expect("listed");
    assert_eq!((channels.len(), channels[0].subscriber_count), (1, 0));
}

#[tokio::test]
async fn of_two_who_change_a_setting_one_is_told() {
    let Some((_broker, client)) = connected().await else { return };
    let settings = client.settings();
    let mut watch = settings.watch().await.expect("watching");
    client.flush().await.expect("flushed");
    assert_eq!(settings.get("motd").await.expect("asked"), None);
    let first = settings.set_if("motd", "hello", 0).await.expect("set");
    assert_eq!((&first.value, first.version), (&json!("hello"), 1));
    let late = settings.set_if("motd", "hi", 0).await.expect_err("not set");
    assert_eq!(late.kind(), SettingErrorKind::OtherVersion);
    settings.set("motd", r#"{"a":[1]}"#).await.expect("set");
    let all = settings.list().await.expect("listed");
    assert_eq!((all.len(), &all[0].value, all[0].version), (1, &json!({"a": [1]}), 2));
    assert_eq!(in_time(watch.next()).await, Some(first));
    assert_eq!(in_time(watch.next()).await.as_ref(), all.first());
}
