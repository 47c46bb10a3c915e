//! Against a server on loopback that behaves as IMDS does, well and badly.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::ports::AnchorSource;
use crate::testing::http::{self, Reply, Request};

const DOCUMENT: &str = r#"{"accountId":"123456789012","instanceId":"i-0a1b","instanceType":"t2.micro","marketplaceProductCodes":null,"new":{"a":[1]},
    "region":"us-east-1","pendingTime":"2026-11-24T10:00:00Z","version":"2017-09-30"}"#;

/// IMDS that takes its n-th token for `uses` requests, and answers as `answer` says.
async fn imds(
    uses: u32,
    answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
) -> (Imds, Arc<BootClock>) {
    let (tokens, used) = (AtomicU32::new(0), AtomicU32::new(0));
    let url = http::serve(move |request: Request| {
        let date = "Date: Tue, 24 Nov 2020 11:15:44 GMT\r\n";
        if request.method == "PUT" {
            used.store(0, Ordering::Relaxed);
            let token = format!("token-{}", tokens.fetch_add(1, Ordering::Relaxed) + 1);
            return (
                200,
                format!("{date}x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n"),
                token.into_bytes(),
            );
        }
        let current = format!("token-{}", tokens.load(Ordering::Relaxed));
        let token = request.headers.get("x-aws-ec2-metadata-token");
        if token != Some(&current) || used.fetch_add(1, Ordering::Relaxed) >= uses {
            return (401, date.to_owned(), Vec::new());
        }
        let (status, headers, body) = answer(&request.path);
        (status, format!("{date}{headers}"), body)
    })
    .await;
    let clock = Arc::new(BootClock::new());
    (
        Imds::new(Some(url), crate::adapters::http_client(), Arc::clone(&clock)).expect("a client"),
        clock,
    )
}

fn say(status: u16, body: &str) -> Reply {
    (status, String::new(), body.as_bytes().to_vec())
}

fn instance(path: &str, life_cycle: Option<&str>) -> Reply {
    match (path, life_cycle) {
        (IDENTITY, _) => say(200, DOCUMENT),
        (LIFE_CYCLE, Some(life_cycle)) => say(200, life_cycle),
        _ => say(404, "not found"),
    }
}

#[tokio::test]
async fn it_tells_who_the_instance_is_and_shows_the_date_to_the_clock() {
    for (life_cycle, is_spot) in [(Some("spot"), true), (Some("on-demand"), false), (None, false)] {
        let (imds, clock) = imds(100, move |path| instance(path, life_cycle)).await;
        let identity = imds.identity().await.expect("an identity");
        assert_eq!(identity, Identity { is_spot, ..crate::testing::identity() });
        assert_eq!(clock.anchor().source, AnchorSource::Date);
        assert!(
            clock.skew() > SignedDuration::from_hours(24),
            "the clock goes by IMDS: {}",
            clock.skew()
        );
    }
}

/// Terraform's cloudinit_config compresses by default.
/// Catches: an instance whose user data can't be read, and that says nothing of why.
#[tokio::test]
async fn user_data_that_is_no_text_is_named_as_such() {
    let (imds, _) = imds(100, |_| (200, String::new(), vec![0x1f, 0x8b, 8, 0, 0xff])).await;
    let error = imds.user_data().await.expect_err("no text").to_string();
    assert_eq!(
        error,
        "IMDS /latest/user-data: it is no text (compressed?); it is read as plain text alone"
    );
}

/// Catches: aws-node-termination-handler#229's kin, a token that was refused and is used for ever.
#[tokio::test]
async fn a_refused_token_is_replaced_within_the_same_request() {
    let (imds, _) = imds(1, |_| say(404, "")).await;
    for _ in 0..5 {
        assert_eq!(imds.notice().await.expect("an answer"), None);
    }
}

#[tokio::test]
async fn a_notice_is_read_and_whatever_else_is_said_there_is_an_error_or_a_notice() {
    let cases: [(&str, Option<&str>); 5] = [
        (r#"{"action":"terminate","time":"2026-11-24T10:07:00Z"}"#, Some("2026-11-24T10:07:00Z")),
        (r#"{"action":"hibernate","time":"2026-11-24T10:07:00Z"}"#, Some("2026-11-24T10:07:00Z")),
        (
            r#"{"x":[],"time":"2026-11-24T10:07:00Z","action":"a new one"}"#,
            Some("2026-11-24T10:07:00Z"),
        ),
        ("<html>busy</html>", None),
        (r#"{"action""#, None),
    ];
    for (body, wanted) in cases {
        let (imds, _) = imds(100, move |_| say(200, body)).await;
        let wanted = wanted.map(|time| Some(time.parse().expect("a time")));
        assert_eq!(imds.notice().await.ok(), wanted, "{body}");
    }
    let (imds, clock) = imds(100, |_| say(200, r#"{"action":"stop","time":"soon"}"#)).await;
    let taken_at = imds.notice().await.expect("a notice").expect("a notice");
    assert!(
        (clock.now().duration_until(taken_at) - NOTICE).abs() < SignedDuration::from_secs(5),
        "{taken_at}"
    );
}

#[tokio::test]
async fn each_slower_signal_is_read_and_what_is_none_is_told_apart() {
    assert!(END_TAG.ends_with(node_contract::names::tag::END));
    let scheduled = |entries: &str| format!("[{entries}]");
    let reboot = r#"{"NotBefore": "21 Jan 2027 09:00:43 GMT", "Code": "system-reboot", "Description": "d",
        "EventId": "e", "NotAfter": "21 Jan 2027 09:17:23 GMT", "State": "active"}"#;
    let earlier =
        r#"{"NotBefore": "1 Jan 2027 00:00:00 GMT", "Code": "instance-stop", "State": "active"}"#;
    let over = r#"{"NotBefore": "01 Dec 2026 00:00:00 GMT", "Code": "instance-stop", "State": "completed"}"#;
    let at = |time: &str| Some(Some(crate::testing::at(time)));
    let cases = [
        (Signal::TerminationTime, "2026-11-24T10:07:00Z\n".to_owned(), at("2026-11-24T10:07:00Z")),
        (Signal::TerminationTime, "none".to_owned(), Some(None)),
        (
            Signal::Rebalance,
            r#"{"noticeTime":"2026-11-24T10:01:00Z"}"#.to_owned(),
            at("2026-11-24T10:01:00Z"),
        ),
        (Signal::Rebalance, "{".to_owned(), None),
        (Signal::Maintenance, "[]".to_owned(), Some(None)),
        (Signal::Maintenance, scheduled(over), Some(None)),
        (Signal::Maintenance, scheduled(reboot), at("2027-01-21T09:00:43Z")),
        (
            Signal::Maintenance,
            scheduled(&format!("{reboot},{earlier},{over}")),
            at("2027-01-01T00:00:00Z"),
        ),
        (Signal::Maintenance, scheduled(&reboot.replace("Jan", "Soon")), None),
        (Signal::Maintenance, scheduled(r#"{"Code":"instance-stop"}"#), None),
        (
            Signal::Maintenance,
            scheduled(&format!("{},{{}},{reboot}", reboot.replace("Jan", "Soon"))),
            at("2027-01-21T09:00:43Z"),
        ),
        (
            Signal::Rebalance,
            r#"{"noticeTime":"2026-11-24T10:01:00Z","x":{"y":[1]}}"#.to_owned(),
            at("2026-11-24T10:01:00Z"),
        ),
        (Signal::EndTag, "2026-11-24T12:00:00Z".to_owned(), at("2026-11-24T12:00:00Z")),
        (Signal::EndTag, "in an hour".to_owned(), None),
    ];
    for (signal, body, wanted) in cases {
        let (imds, _) = imds(100, {
            let body = body.clone();
            move |_| say(200, &body)
        })
        .await;
        assert_eq!(imds.signal(signal).await.ok(), wanted, "{signal:?} {body}");
    }
    for signal in [Signal::TerminationTime, Signal::Rebalance, Signal::Maintenance, Signal::EndTag]
    {
        let (imds, _) = imds(100, |_| say(404, "")).await;
        assert_eq!(imds.signal(signal).await.expect("an answer"), None);
    }
}

/// Catches: a token for each request, which IMDS throttles, and a connection for each, which costs
/// the host.
#[tokio::test]
async fn a_token_is_asked_for_once_and_one_connection_is_enough() {
    let asked = Arc::new(AtomicU32::new(0));
    let (clock, counted) = (Arc::new(BootClock::new()), Arc::clone(&asked));
    let (url, connections) = http::serve_counting(move |request: Request| {
        if request.method == "PUT" {
            counted.fetch_add(1, Ordering::Relaxed);
            return (
                200,
                "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n".to_owned(),
                b"token".to_vec(),
            );
        }
        say(404, "")
    })
    .await;
    let imds = Imds::new(Some(url), crate::adapters::http_client(), clock).expect("a client");
    for _ in 0..50 {
        imds.notice().await.expect("an answer");
        imds.signal(Signal::Rebalance).await.expect("an answer");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

/// Catches: an error that prints what it could not read; user data may hold secrets.
#[tokio::test]
async fn no_error_repeats_the_answer() {
    for status in [200, 403, 500] {
        let binary = [b"secret".as_slice(), &[0x1f, 0x8b, 0xff]].concat();
        let (imds, _) = imds(100, move |_| (status, String::new(), binary.clone())).await;
        let error = imds.user_data().await.expect_err("it is no text").to_string();
        assert!(!error.contains("secret") && error.contains(USER_DATA), "{error}");
    }
}

#[tokio::test]
async fn an_imds_that_refuses_connections_or_its_token_is_an_error_at_once() {
    let nobody = Imds::new(
        Some("http://127.0.0.1:1".into()),
        crate::adapters::http_client(),
        Arc::default(),
    );
    assert!(nobody.expect("a client").identity().await.is_err());
    let url = http::serve(|_| say(403, "disabled")).await;
    let forbidden = Imds::new(Some(url), crate::adapters::http_client(), Arc::default());
    let error = forbidden.expect("a client").identity().await.expect_err("refused");
    assert!(format!("{error:?}").contains("HTTP 403"), "the status is named: {error:?}");
}
