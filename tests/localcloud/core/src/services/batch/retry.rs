//! Retry strategies: how often, and by which rules.

use serde::{Deserialize, Serialize};

/// Batch takes at most this many rules.
const MAX_RULES: usize = 5;

/// Batch takes at most this many attempts.
const MAX_ATTEMPTS: u32 = 10;

/// How a failed attempt is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Strategy {
    #[serde(default = "one")]
    pub(super) attempts: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) evaluate_on_exit: Vec<Rule>,
}

fn one() -> u32 {
    1
}

impl Default for Strategy {
    /// One attempt.
    fn default() -> Self {
        Self { attempts: one(), evaluate_on_exit: Vec::new() }
    }
}

/// One rule: all of its conditions must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    on_status_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_exit_code: Option<String>,
    /// RETRY or EXIT, in any case.
    action: String,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome<'a> {
    pub(super) status_reason: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) exit_code: Option<i32>,
}

impl Strategy {
    /// Batch's rules for a strategy.
    ///
    /// # Errors
    /// What it breaks.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=MAX_ATTEMPTS).contains(&self.attempts) {
            return Err(format!(
                "retryStrategy attempts {} must be between 1 and {MAX_ATTEMPTS}",
                self.attempts
            ));
        }
        if self.evaluate_on_exit.len() > MAX_RULES {
            return Err(format!("evaluateOnExit can have at most {MAX_RULES} conditions"));
        }
        self.evaluate_on_exit.iter().try_for_each(Rule::check)
    }

    /// Whether a job that has made `made` attempts is tried again after this outcome. The first
    /// rule that matches decides; where none does, it is.
    pub(super) fn retries(&self, made: u32, outcome: Outcome<'_>) -> bool {
        let rule = self.evaluate_on_exit.iter().find(|rule| rule.matches(outcome));
        made < self.attempts && rule.is_none_or(|rule| rule.action.eq_ignore_ascii_case("RETRY"))
    }
}

impl Rule {
    fn check(&self) -> Result<(), String> {
        if !["RETRY", "EXIT"].iter().any(|action| action.eq_ignore_ascii_case(&self.action)) {
            return Err(format!(
                "evaluateOnExit action {} is not one of [RETRY, EXIT]",
                self.action
            ));
        }
        let in_text =
            |c: char| c.is_ascii_alphanumeric() || c == '.' || c == ':' || c.is_whitespace();
        for (name, pattern) in
            [("onStatusReason", &self.on_status_reason), ("onReason", &self.on_reason)]
        {
            if pattern.as_deref().is_some_and(|pattern| !is_pattern(pattern, in_text)) {
                return Err(format!(
                    "evaluateOnExit {name} may hold letters, digits, periods, colons, white \
                     space and one trailing *"
                ));
            }
        }
        let digit = |c: char| c.is_ascii_digit();
        if self.on_exit_code.as_deref().is_some_and(|pattern| !is_pattern(pattern, digit)) {
            return Err("evaluateOnExit onExitCode may hold digits and one trailing *".to_owned());
        }
        Ok(())
    }

    fn matches(&self, outcome: Outcome<'_>) -> bool {
        let code = outcome.exit_code.map(|code| code.to_string());
        // [A] A missing text is an empty one: AWS's own example ends its rules with `onReason: *`
        // to catch the rest.
        let conditions = [
            (&self.on_status_reason, Some(outcome.status_reason.unwrap_or_default())),
            (&self.on_reason, Some(outcome.reason.unwrap_or_default())),
            (&self.on_exit_code, code.as_deref()),
        ];
        conditions.into_iter().all(|(pattern, text)| match (pattern, text) {
            (None, _) => true,
            (Some(pattern), Some(text)) => glob(pattern, text),
            (Some(_), None) => false,
        })
    }
}

/// At most 512 characters, all allowed, with one trailing `*` at most.
fn is_pattern(pattern: &str, allowed: impl Fn(char) -> bool) -> bool {
    let text = pattern.strip_suffix('*').unwrap_or(pattern);
    !pattern.is_empty() && pattern.chars().count() <= 512 && text.chars().all(allowed)
}

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == pattern,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn strategy(rules: Value) -> Strategy {
        serde_json::from_value(json!({"attempts": 3, "evaluateOnExit": rules})).expect(
            "a \
            strategy",
        )
    }

    fn outcome(status_reason: &str, exit_code: Option<i32>) -> Outcome<'_> {
        Outcome { status_reason: Some(status_reason), reason: None, exit_code }
    }

    /// The four rules that this project gives its job definitions, against the ways in which an
    /// attempt ends.
    #[test]
    fn the_projects_rules_retry_hosts_and_sigterm_and_what_a_crash_cut_and_nothing_else() {
        let strategy = strategy(json!([
            {"onStatusReason": "Host EC2*", "action": "RETRY"},
            {"onExitCode": "143", "action": "RETRY"},
            {"onExitCode": "255", "action": "RETRY"},
            {"onReason": "*", "action": "EXIT"},
        ]));
        strategy.check().expect("within Batch's rules");
        let exited = "Essential container in task exited";
        let cases = [
            (outcome("Host EC2 (instance i-1) terminated.", None), true),
            (outcome("Host EC2 (instance i-1) block ends", Some(1)), true),
            (outcome(exited, Some(143)), true),
            (outcome(exited, Some(255)), true),
            (outcome(exited, Some(1)), false),
            (outcome(exited, Some(25)), false),
            (outcome(exited, Some(14)), false),
            (outcome("host ec2 gone", Some(1)), false),
        ];
        for (outcome, retried) in cases {
            assert_eq!(strategy.retries(1, outcome), retried, "{outcome:?}");
        }
        assert!(!strategy.retries(3, cases[0].0), "no attempt is left");
    }

    #[test]
    fn where_no_rule_matches_it_is_tried_again() {
        let strategy = strategy(json!([{"onExitCode": "2", "action": "EXIT"}]));
        assert!(strategy.retries(1, outcome("x", Some(1))));
        assert!(!strategy.retries(1, outcome("x", Some(2))));
        assert!(strategy.retries(1, outcome("x", None)), "no exit code matches no exit code rule");
    }

    #[test]
    fn all_conditions_of_a_rule_must_match_and_the_first_rule_wins() {
        let strategy = strategy(json!([
            {"onExitCode": "1", "onStatusReason": "A*", "action": "exit"},
            {"onExitCode": "1*", "action": "retry"},
            {"onStatusReason": "*", "action": "EXIT"},
        ]));
        assert!(!strategy.retries(1, outcome("ABC", Some(1))));
        assert!(strategy.retries(1, outcome("B", Some(1))));
        assert!(strategy.retries(1, outcome("B", Some(137))));
        assert!(!strategy.retries(1, outcome("B", Some(2))));
    }

    #[test]
    fn without_a_strategy_there_is_one_attempt() {
        assert!(
            !Strategy::default().retries(1, outcome("Host EC2 (instance i-1) terminated.", None))
        );
    }

    #[test]
    fn batchs_rules_for_patterns_are_held() {
        let bad = [
            json!([{"onStatusReason": "Host-EC2*", "action": "RETRY"}]),
            json!([{"onReason": "(x)", "action": "RETRY"}]),
            json!([{"onReason": "a*b", "action": "RETRY"}]),
            json!([{"onExitCode": "14x", "action": "RETRY"}]),
            json!([{"onExitCode": "", "action": "RETRY"}]),
            json!([{"onExitCode": "1", "action": "AGAIN"}]),
            json!(
                (0..6)
                    .map(|n| json!({"onExitCode": n.to_string(), "action": "EXIT"}))
                    .collect::<Vec<_>>()
            ),
        ];
        for rules in bad {
            strategy(rules.clone()).check().expect_err(&rules.to_string());
        }
        for attempts in [0, 11] {
            Strategy { attempts, ..Strategy::default() }.check().expect_err("attempts");
        }
    }
}
