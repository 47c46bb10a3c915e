//! Filters and pages, which all of EC2's Describe operations share.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::Value;

use super::tags::Tags;
use crate::protocol::AwsError;
use crate::protocol::wire::query;

/// The limits of MaxResults for most of EC2.
pub(super) const LIMITS: RangeInclusive<u32> = 5..=1000;

/// One filter: an item passes when one of its values matches one of the filter's.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Filter {
    name: String,
    #[serde(default)]
    value: Vec<String>,
}

/// What Describe operations have in common, besides the ids they are asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Selection {
    #[serde(default)]
    filter: Vec<Filter>,
    #[serde(default, deserialize_with = "query::text")]
    pub(super) max_results: Option<u32>,
    #[serde(default)]
    next_token: Option<String>,
}

impl Selection {
    /// Reads what is left of the parameters once an operation's own are taken out.
    pub(super) fn read(mut parameters: Value) -> Result<Self, AwsError> {
        // Only about resources that other AWS services manage, of which there are none.
        query::take(&mut parameters, "IncludeManagedResources");
        query::parse(parameters)
    }

    /// Whether an item passes all filters. `field` gives an item's values for a filter's name, or
    /// `None` when the operation has no such filter; those for tags are answered here.
    pub(super) fn accepts(
        &self,
        tags: Option<&Tags>,
        field: impl Fn(&str) -> Option<Vec<String>>,
    ) -> Result<bool, AwsError> {
        for filter in &self.filter {
            let values = match (filter.name.as_str(), tags) {
                ("tag-key", tags) => {
                    Some(tags.into_iter().flatten().map(|(key, _)| key.clone()).collect())
                }
                (name, tags) => match name.strip_prefix("tag:") {
                    Some(key) => Some(
                        tags.and_then(|tags| tags.get(key))
                            .cloned()
                            .into_iter()
                            .collect::<Vec<_>>(),
                    ),
                    None => field(name),
                },
            };
            let values = values.ok_or_else(|| {
                AwsError::new(
                    "InvalidParameterValue",
                    format!("The filter '{}' is invalid", filter.name),
                )
            })?;
            if !filter
                .value
                .iter()
                .any(|pattern| values.iter().any(|value| matches(pattern, value)))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Cuts one page out of all results; gives the token of the next, if there is one.
    pub(super) fn page<T>(
        &self,
        mut items: Vec<T>,
        limits: RangeInclusive<u32>,
    ) -> Result<(Vec<T>, Option<String>), AwsError> {
        if let Some(wanted) = self.max_results
            && !limits.contains(&wanted)
        {
            let (relation, bound) = if wanted < *limits.start() {
                ("greater", limits.start())
            } else {
                ("less", limits.end())
            };
            let message = format!(
                "Value ( {wanted} ) for parameter maxResults is invalid. Expecting a value \
                 {relation} than or equal to {bound}."
            );
            return Err(AwsError::new("InvalidParameterValue", message));
        }
        let start = self.next_token.as_deref().map_or(Ok(0), read_token)?;
        let size = self.max_results.unwrap_or(*limits.end()) as usize;
        let mut page = items.split_off(start.min(items.len()));
        let more = page.len() > size;
        page.truncate(size);
        Ok((page, more.then(|| BASE64.encode(format!("{TOKEN}{}", start + size)))))
    }
}

/// Makes a token opaque enough that nobody counts with it.
const TOKEN: &str = "page-from-";

fn read_token(token: &str) -> Result<usize, AwsError> {
    let read = || {
        let bytes = BASE64.decode(token).ok()?;
        String::from_utf8(bytes).ok()?.strip_prefix(TOKEN)?.parse().ok()
    };
    read().ok_or_else(|| AwsError::new("InvalidNextToken", "The specified NextToken is not valid."))
}

/// EC2's patterns: `*` stands for any characters, `?` for one.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = &pattern[1..];
            text.char_indices()
                .map(|(at, _)| at)
                .chain([text.len()])
                .any(|at| matches(rest, &text[at..]))
        }
        Some(wanted) => {
            let mut rest = text.chars();
            rest.next().is_some_and(|found| wanted == '?' || wanted == found)
                && matches(&pattern[wanted.len_utf8()..], rest.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(max_results: Option<u32>, next_token: Option<String>) -> Selection {
        Selection { max_results, next_token, ..Selection::default() }
    }

    #[test]
    fn pages_follow_one_another_until_all_is_given() {
        let all: Vec<u32> = (0..12).collect();
        let mut seen = Vec::new();
        let mut token = None;
        for _ in 0..3 {
            let (page, next) = sized(Some(5), token).page(all.clone(), LIMITS).expect("a page");
            seen.extend(page);
            token = next;
        }
        assert_eq!((seen, token), (all, None));
    }

    /// Catches: a token for an empty page when the results fill the last one exactly.
    #[test]
    fn the_last_full_page_has_no_token() {
        let (page, next) = sized(Some(5), None).page(vec![0; 5], LIMITS).expect("a page");
        assert_eq!((page.len(), next), (5, None));
    }

    #[test]
    fn sizes_out_of_bounds_and_foreign_tokens_are_refused() {
        for wanted in [4, 1001] {
            let error = sized(Some(wanted), None).page(vec![0], LIMITS).expect_err("out of bounds");
            assert_eq!(error.code, "InvalidParameterValue");
        }
        let error = sized(None, Some("x".to_owned())).page(vec![0], LIMITS).expect_err("foreign");
        assert_eq!(error.code, "InvalidNextToken");
    }

    #[test]
    fn patterns_are_ec2s() {
        let cases = [
            ("a*c", "abbc", true),
            ("a*c", "ab", false),
            ("a?c", "abc", true),
            ("", "", true),
            ("*", "", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn filters_are_joined_by_and_their_values_by_or() {
        let tags: Tags = [("name".to_owned(), "a".to_owned())].into();
        let selection = |filters: Value| {
            Selection::read(serde_json::json!({ "Filter": filters })).expect("filters")
        };
        let field = |name: &str| (name == "state").then(|| vec!["open".to_owned()]);
        let cases = [
            (
                serde_json::json!([{"Name": "state", "Value": ["open", "active"]}, {"Name": "tag:name", "Value": ["a"]}]),
                true,
            ),
            (
                serde_json::json!([{"Name": "state", "Value": ["active"]}, {"Name": "tag:name", "Value": ["a"]}]),
                false,
            ),
            (serde_json::json!([{"Name": "tag-key", "Value": ["other"]}]), false),
        ];
        for (filters, expected) in cases {
            assert_eq!(
                selection(filters.clone()).accepts(Some(&tags), field),
                Ok(expected),
                "{filters}"
            );
        }
        let unknown = selection(serde_json::json!([{"Name": "colour", "Value": ["red"]}]));
        assert_eq!(
            unknown.accepts(None, field).expect_err("unknown").code,
            "InvalidParameterValue"
        );
    }
}
