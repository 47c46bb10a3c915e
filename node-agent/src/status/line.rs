//! What the agent is doing, in a line that people read in `systemctl status`.

use jiff::{SignedDuration, Timestamp};

use crate::lifecycle::{LeaveStep, Phase, Rules, State};

/// The status in a line: what the agent does, and what comes next and when.
#[must_use]
pub(crate) fn line(block: &str, rules: &Rules, state: &State, now: Timestamp) -> String {
    let timeline = state.timeline;
    let until = |at: Timestamp| length(now.duration_until(at));
    match state.phase {
        Phase::Joining => match &state.registration {
            Some(found) if !rules.is_own_cluster(&found.cluster) => format!(
                "not serving block {block}: registered in cluster {} instead of {}, leaving in {}",
                found.cluster,
                rules.cluster,
                until(timeline.drain_at)
            ),
            _ => {
                let hindrance =
                    state.hindrance.as_ref().map_or_else(String::new, |why| format!("; {why}"));
                format!(
                    "joining {} for block {block}, drain in {}{hindrance}",
                    rules.cluster,
                    until(timeline.drain_at)
                )
            }
        },
        Phase::Serving => format!(
            "serving block {block}, {}, drain in {}",
            tasks(state),
            until(timeline.drain_at)
        ),
        Phase::Draining => {
            let word = if state.drained { "draining" } else { "setting DRAINING in" };
            format!("{word} block {block}, {}, stop in {}", tasks(state), until(timeline.stop_at))
        }
        Phase::Stopping => {
            format!("stopping {} of block {block}, end in {}", tasks(state), until(timeline.end))
        }
        Phase::Leaving => {
            let what = match state.leave {
                LeaveStep::StopEcsAgent => "stopping the ECS agent",
                LeaveStep::StopContainers => "stopping its containers",
                LeaveStep::Find | LeaveStep::Inspect => "looking for a late registration",
                LeaveStep::Deregister | LeaveStep::Done => "deregistering",
            };
            format!(
                "leaving block {block}, {what}, power off in {} at the latest",
                until(timeline.end)
            )
        }
        Phase::Gone => format!("block {block} is over, powering off"),
    }
}

fn tasks(state: &State) -> String {
    match state.live_tasks() {
        1 => "1 task".to_owned(),
        count => format!("{count} tasks"),
    }
}

/// A length of time as people say it, in two units at most.
#[must_use]
pub(crate) fn length(duration: SignedDuration) -> String {
    let secs = duration.as_secs().max(0);
    let (days, hours, mins) = (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60);
    match secs {
        0..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", secs / 60),
        7_200..172_800 => format!("{} h {mins:02} min", secs / 3_600),
        _ => format!("{days} d {hours:02} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Event, OnHost, Registration};
    use crate::testing;

    #[test]
    fn lengths_read_as_people_say_them() {
        let cases = [
            (-5, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (2_460, "41 min"),
            (11_100, "3 h 05 min"),
            (200_000, "2 d 07 h"),
        ];
        for (secs, wanted) in cases {
            assert_eq!(length(SignedDuration::from_secs(secs)), wanted);
        }
    }

    #[test]
    fn the_line_tells_what_goes_on_and_what_is_next() {
        let (rules, state) = (testing::rules(), testing::state());
        let now = state.timeline.drain_at - SignedDuration::from_mins(41);
        assert_eq!(
            line("sb-1f2c", &rules, &state, now),
            "joining c for block sb-1f2c, drain in 41 min"
        );
        let joined = Registration { instance: "arn:1".into(), cluster: "c".into() };
        let (state, _) = rules.step(&state, now, Event::Registered(joined));
        let (state, _) =
            rules.step(&state, now, Event::OnHost(Some([("t".to_owned(), OnHost::Live)].into())));
        assert_eq!(
            line("sb-1f2c", &rules, &state, now),
            "serving block sb-1f2c, 1 task, drain in 41 min"
        );
        let now = state.timeline.drain_at;
        let (state, _) = rules.step(&state, now, Event::Tick);
        assert!(
            line("sb-1f2c", &rules, &state, now)
                .starts_with("setting DRAINING in block sb-1f2c, 1 task, stop in")
        );
        let (state, _) = rules.step(&state, state.timeline.end, Event::Tick);
        assert_eq!(line("sb-1f2c", &rules, &state, now), "block sb-1f2c is over, powering off");
    }
}
