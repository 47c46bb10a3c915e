//! Metrics in Prometheus's text format, over HTTP, only where the settings say so: jobs share the
//! host's network and can read what it listens on.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::lifecycle::Phase;
use crate::status::connection_limit::ConnectionLimit;
use crate::status::published_state::PublishedState;
use crate::status::report::Report;

/// The longest request.
const REQUEST: usize = 4096;

const PHASES: [Phase; 6] =
    [Phase::Joining, Phase::Serving, Phase::Draining, Phase::Stopping, Phase::Leaving, Phase::Gone];

/// Gives metrics out until nobody polls it any more.
pub(crate) async fn serve(listener: TcpListener, published: Arc<PublishedState>) {
    let connections = ConnectionLimit::new();
    loop {
        let accepted = async { listener.accept().await.map(|(stream, _)| stream) };
        connections
            .serve_one("the metrics' port", accepted, |stream| {
                answer(stream, Arc::clone(&published))
            })
            .await;
    }
}

async fn answer(mut stream: TcpStream, published: Arc<PublishedState>) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && request.len() < REQUEST {
        if stream.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    let (status, body) =
        if request.starts_with(b"GET /metrics ") || request.starts_with(b"GET /metrics?") {
            ("200 OK", text(&published.report()))
        } else {
            ("404 Not Found", "metrics are at /metrics\n".to_owned())
        };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: \
         {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// The metrics. The labels have as many values as there are phases, moments and kinds of problems.
#[must_use]
pub(crate) fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, f64)]| {
        // Writing into a string has no way to fail.
        let _ = writeln!(text, "# HELP spotblock_{name} {help}\n# TYPE spotblock_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "spotblock_{name}{labels} {value}");
        }
    };
    let version = label("version", &report.version);
    family("agent_info", "gauge", "The agent's version.", &[(format!("{{{version}}}"), 1.0)]);
    let skew = seconds(report.skew_millis);
    family(
        "clock_skew_seconds",
        "gauge",
        "How far the host's wall clock is ahead.",
        &[(String::new(), skew)],
    );
    family(
        "transitions_total",
        "counter",
        "Transitions of this process.",
        &[(String::new(), count(report.transitions))],
    );
    let problems: Vec<(String, f64)> = report
        .problems
        .iter()
        .map(|problem| (format!("{{{}}}", label("what", &problem.what)), count(problem.count)))
        .collect();
    family(
        "problems_total",
        "counter",
        "Problems that were logged, by kind; at most 32 kinds.",
        &problems,
    );
    let Some(life) = &report.life else { return text };
    let labels = [
        label("block", &life.block),
        label("instance", &life.instance),
        label("environment", &life.environment),
    ];
    family("block_info", "gauge", "The block.", &[(format!("{{{}}}", labels.join(",")), 1.0)]);
    let states = PHASES.map(|phase| {
        (format!("{{{}}}", label("state", phase.word())), f64::from(u8::from(phase == life.state)))
    });
    family("state", "gauge", "1 for the state that the agent is in.", &states);
    let live =
        u32::try_from(life.tasks.values().filter(|task| task.live).count()).unwrap_or(u32::MAX);
    family(
        "tasks_live",
        "gauge",
        "Tasks of which a container may still run.",
        &[(String::new(), live.into())],
    );
    let until = |name: &str, at: Timestamp| {
        let millis = i64::try_from(report.now.duration_until(at).as_millis()).unwrap_or(i64::MAX);
        (format!("{{{}}}", label("moment", name)), seconds(millis))
    };
    let moments = [
        until("drain", life.timeline.drain_at),
        until("stop", life.timeline.stop_at),
        until("end", life.timeline.end),
    ];
    family("seconds_until", "gauge", "Seconds until a moment of the block.", &moments);
    text
}

fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

/// Exact as far as anybody looks: beyond 2^53 a float has no fractions.
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

fn count(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::problems::Problems;
    use crate::status::record::Record;
    use crate::testing::{World, at, saved};

    async fn get(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn metrics_are_given_out_at_their_path() {
        let world = World::at(at("2026-11-24T10:05:00Z"));
        let published = Arc::new(PublishedState::new(
            world.ports().clock,
            Problems::default(),
            Record::nowhere(),
        ));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(serve(listener, Arc::clone(&published)));
        let early = get(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(
            early.contains("spotblock_agent_info{version=") && !early.contains("spotblock_state"),
            "{early}"
        );
        published.publish(&saved());
        let answer = get(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        for wanted in [
            "HTTP/1.1 200 OK\r\n",
            "spotblock_state{state=\"joining\"} 1\n",
            "spotblock_state{state=\"gone\"} 0\n",
            "spotblock_seconds_until{moment=\"end\"} 3",
            "spotblock_tasks_live 0\n",
            "# TYPE spotblock_transitions_total counter\nspotblock_transitions_total 0\n",
        ] {
            assert!(answer.contains(wanted), "{wanted:?} in {answer}");
        }
        assert!(get(address, "GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 404"));
        assert!(get(address, &"x".repeat(5000)).await.starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(label("what", "a \"b\"\\\n"), r#"what="a \"b\"\\\n""#);
    }
}
