//! The table over `step` against the code: every row happens, and nothing happens that is not in it
//! (see also `random.rs`).

use std::collections::BTreeSet;

use node_contract::OnRebalance;

use super::*;

/// (from, to, why) of each row.
pub(super) fn rows() -> BTreeSet<(String, String, String)> {
    let source = include_str!("../step.rs");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = source.lines().filter_map(|line| line.trim().strip_prefix("/// |")).map(cells);
    let rows = rows.filter(|cells| cells[0] != "from" && !cells[0].starts_with('-'));
    rows.map(|cells| (cells[0].clone(), cells[1].clone(), cells[2].clone())).collect()
}

fn notice(secs: i64, now: Timestamp) -> Event {
    Event::Notice { taken_at: now + SignedDuration::from_secs(secs) }
}

/// A life on the brink of the row's transition, and the event that brings it.
fn brink(from: &str, to: &str, why: &str) -> (Life, Event) {
    let mut life = match from {
        "joining" => Life::new(),
        "serving" => Life::serving(),
        "draining" => Life::draining(&[]),
        "stopping" => Life::stopping(&[]),
        _ if why == "late-tasks" => Life::leaving_early(),
        _ => Life::leaving(),
    };
    let event = match (to, why) {
        (_, "registered") => Event::Registered(own()),
        (_, "drain-time") => {
            life.at("10:15:00");
            Event::Tick
        }
        (_, "stop-time") => {
            life.at("10:55:00");
            Event::Tick
        }
        (_, "unheard") => {
            life.step(on_host(&[("t", OnHost::Live)]));
            life.after(30);
            Event::Tick
        }
        (_, "leave-time") => {
            life.at("10:59:30");
            Event::Tick
        }
        (_, "end") => {
            life.at("11:00:00");
            Event::Tick
        }
        (_, "notice") => notice(120, life.now),
        (_, "set-outside") => status(InstanceStatus::Draining),
        (_, "rebalance") => {
            life.rules.config.options.on_rebalance = OnRebalance::Drain;
            Event::Rebalance
        }
        (_, "released") => {
            life.rules.config.options.release_when_idle_secs = Some(60);
            life.step(on_host(&[]));
            life.after(60);
            on_host(&[])
        }
        (_, "idle") => {
            life.step(on_host(&[]));
            life.step(survey(InstanceStatus::Draining, 0, &[]));
            life.after(6);
            survey(InstanceStatus::Draining, 0, &[])
        }
        (_, "late-tasks") => {
            life.step(Event::EcsAgentStopped(Outcome::Done));
            life.step(Event::Found(Ok(Some(own()))));
            survey(InstanceStatus::Active, 1, &[("t", false)])
        }
        (_, "left") => {
            life.step(Event::EcsAgentStopped(Outcome::Done));
            Event::Deregistered(Outcome::Done)
        }
        other => panic!("no way is known to {other:?}"),
    };
    (life, event)
}

/// Catches: a row that the code doesn't keep.
#[test]
fn every_row_of_the_table_happens() {
    let rows = rows();
    assert!(rows.len() >= 19, "the table was not found: {rows:?}");
    for (from, to, why) in rows {
        let (mut life, event) = brink(&from, &to, &why);
        assert_eq!(life.state.phase.word(), from, "before {from} -> {to} by {why}");
        life.step(event);
        assert_eq!(
            (life.state.phase.word(), life.state.why.word()),
            (to.as_str(), why.as_str()),
            "from {from}"
        );
        assert_eq!(life.state.since, life.now);
    }
}
